/* Attributes of clang that the code relies on, under short names. */
#ifndef TUFF_BASE_COMPILER_H
#define TUFF_BASE_COMPILER_H

#define TUFF_MUST_CHECK __attribute__((warn_unused_result))
#define TUFF_PRINTF(fmt_index, first) __attribute__((format(printf, fmt_index, first)))
#define TUFF_INLINE static inline __attribute__((always_inline))
#define TUFF_NOINLINE __attribute__((noinline))
#define TUFF_COLD __attribute__((cold, noinline))
#define TUFF_LIKELY(x) __builtin_expect(!!(x), 1)
#define TUFF_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define TUFF_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
