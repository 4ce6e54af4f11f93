/* cmocka with the headers that it wants included before it. */
#ifndef USHER_TESTS_CM_H
#define USHER_TESTS_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
