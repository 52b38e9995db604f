#pragma once
/*
  One source, one object per precision and instruction set.

  meson compiles every file under jet/, net/layers and net/losses, and net/pass.c, once for each variant:
  COURANT_BITS is 64 or 32, COURANT_ISA is baseline, avx2 or avx512. `real` is the working type there. A name
  shared between such files goes through COURANT_VARIANT(), which appends _f64_avx2 and the like; everything
  else is static.
*/
#if COURANT_BITS == 64
typedef double real;
#elif COURANT_BITS == 32
typedef float real;
#else
#error "COURANT_BITS is 64 or 32"
#endif

#define COURANT_PASTE_(name, bits, isa) name##_f##bits##_##isa
#define COURANT_PASTE(name, bits, isa)  COURANT_PASTE_(name, bits, isa)
#define COURANT_VARIANT(name)           COURANT_PASTE(name, COURANT_BITS, COURANT_ISA)
