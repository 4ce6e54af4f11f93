/* The table of mechanisms. */
#include "sasl/sasl.h"

#include "sasl/login.h"
#include "sasl/plain.h"

#include <stddef.h>

static const struct sasl_mech *const mechs[] = {
    &sasl_plain,
    &sasl_login,
};

const struct sasl_mech *sasl_at(size_t i)
{
    return i < sizeof(mechs) / sizeof(mechs[0]) ? mechs[i] : NULL;
}

const struct sasl_mech *sasl_find(struct slice name)
{
    for (size_t i = 0; i < sizeof(mechs) / sizeof(mechs[0]); i++) {
        if (slice_ieq(name, slice_str(mechs[i]->name)))
            return mechs[i];
    }
    return NULL;
}
