/* Where the database of compiled code is (store/store.h), and the command `tuff cache`. */
#ifndef TUFF_CLI_CACHE_H
#define TUFF_CLI_CACHE_H

/* What $TUFF_CACHE says; without it code.db in $TUFF_CACHE_DIR, or in tuff/ of the user's cache directory, which is
 * made where it is missing. The caller frees it. NULL: none is wanted ($TUFF_CACHE is empty), there is no such place,
 * or no memory. */
char *cache_default_path(void);

#endif
