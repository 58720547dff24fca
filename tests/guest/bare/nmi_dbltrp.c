/* nmi.c with Smdbltrp as well. */
#define NMI_DBLTRP
#include "nmi.c"
