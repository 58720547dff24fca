#include "report.h"

#ifndef RT_VERBOSE
#define RT_VERBOSE false
#endif

const bool rt_verbose = RT_VERBOSE;
