/* Where the database of compiled code is (store/store.h), and the command `tuff cache`. */
#ifndef TUFF_CLI_CACHE_H
#define TUFF_CLI_CACHE_H

/* What $TUFF_CACHE says; without it code.db in $TUFF_CACHE_DIR, or in tuff/ of the user's cache directory, which is
 * made where it is missing. The caller frees it. NULL: none is wanted ($TUFF_CACHE is empty), there is no such place,
 * or no memory. */
char *cache_default_path(void);

struct symbols;
/* Files with names of guest code, separated by commas (NULL: none), sorted; the caller destroys. Returns 0, or a
 * negative errno, reported. */
int cache_load_symbols(const char *files, struct symbols **out);

#endif
