/* For the main file of a program that runs machines: what the thread sanitizer is not to report. Included once a
 * program.
 *
 * Guest memory is shared by harts, devices and snapshots. A device stores to the guest's buffers by a host call while
 * harts may look at them, and reads them when it finds them in a ring, perhaps before it is told of them; the guest
 * uses them again when it sees them in the used ring; a snapshot copies pages while harts write them, and copies those
 * again that were written. What orders all that are loads and fences of the guest's, of which the sanitizer knows
 * nothing. */
#ifndef TUFF_BASE_TSAN_GUEST_H
#define TUFF_BASE_TSAN_GUEST_H

#if __has_feature(thread_sanitizer)
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:^host_fill$\n"
           "race:^iov_to_buf$\n"
           "race:^iov_from_buf$\n"
           "race:^transfer_once$\n"
           "race:^snapshot_write_page$\n";
}
#endif

#endif
