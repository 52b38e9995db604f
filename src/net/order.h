#pragma once
#define COURANT_ORDER_MAX 3 /* the highest Taylor coefficient of a jet */
