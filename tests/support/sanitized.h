/* Is this build watched by a sanitizer? Tests that repeat one thing with many values then do so fewer times: what a
 * sanitizer sees does not depend on the values, and each takes it several times as long. */
#ifndef TUFF_TESTS_SUPPORT_SANITIZED_H
#define TUFF_TESTS_SUPPORT_SANITIZED_H

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define TEST_SANITIZED 1
#else
#define TEST_SANITIZED 0
#endif

#endif
