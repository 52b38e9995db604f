#pragma once
/* The two kinds of decks that courant symbol takes. */
#include "cmd/session.h"

extern const CourantSessionOps CourantSymbolNetwork, CourantSymbolPde;
