/* What a user's name is made of before anything else looks at it: the settings username_case,
 * username_domain and username_strip_domains. Pure.
 *
 * Only the letters A to Z have a case here; every other byte stays, valid UTF-8 or not. The domain
 * is what follows the last '@'; one that is compared is so without regard to case. Domains are cut
 * off first, as long as the last one is to be; a name that has none then is given username_domain.
 * So doing it twice changes nothing more, as conf_check() lets none be cut off that is added.
 */
#ifndef USHER_DIRECTORY_USERNAME_H
#define USHER_DIRECTORY_USERNAME_H

#include "base/slice.h"
#include "conf/conf.h"
#include "ipc/message.h"

#include <stdbool.h>

/* The name in `out`, or false: it would be empty, or longer than IPC_USER_MAX. */
bool username_normalize(const struct conf_global *conf, struct slice name, char out[IPC_USER_MAX],
                        struct slice *out_name);

#endif
