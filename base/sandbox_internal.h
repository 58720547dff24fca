/* Between base/sandbox.c and what makes its filters. */
#ifndef TUFF_BASE_SANDBOX_INTERNAL_H
#define TUFF_BASE_SANDBOX_INTERNAL_H

/* Filters of workers are numbered by what they allow besides memory, waiting and I/O on what is open. */
enum {
    SANDBOX_FILTER_FILES = 1,
    SANDBOX_FILTER_SOCKETS = 2,
    SANDBOX_FILTER_PROCESS = 4, /* what is refused to all threads */
};

/* Stands in the filters for the number of the process. */
#define SANDBOX_PID 0x54756666u

#endif
