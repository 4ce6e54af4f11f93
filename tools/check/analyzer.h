/* Read by clang-tidy before each source (tidy.py), never by a compiler. Its analyzer looks at one
 * file at a time, and this tells it what it cannot see there. */
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"

/* They always return -1. */
#define err_set(...)    (err_set(__VA_ARGS__), -1)
#define err_sys(...)    (err_sys(__VA_ARGS__), -1)
#define err_prefix(...) (err_prefix(__VA_ARGS__), -1)

/* A ring changes behind its head: what was first in `while (!list_empty(l)) drop(first)` is not
 * first again. */
bool analyzer_list_empty(void *list);
#define list_empty(list) analyzer_list_empty((void *)(size_t)(list))

/* What has bytes has memory: a slice of a buffer is not NULL and longer than 0. */
struct slice analyzer_buf_slice(const struct buf *b);
#define buf_slice(b) analyzer_buf_slice(b)
