/* The loop as a program of the host. */
#include "loop.h"

#include <stdio.h>

int main(void)
{
    printf("sum %llx\n", (unsigned long long)loop(TURNS));
    return 0;
}
