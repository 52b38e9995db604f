#pragma once
/* The table and the example of a layer without options. */
#include "net/layer.h"

static const CourantKey keys[] = {{0}};
static const char *const examples[] = {"{}", NULL};
