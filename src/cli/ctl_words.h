/* The words of `usher ctl`: what was typed becomes a request of the door's protocol. All that is
 * known of commands comes from tables/commands.def, so a new row there is a new command here. */
#ifndef USHER_CLI_CTL_WORDS_H
#define USHER_CLI_CTL_WORDS_H

#include "base/err.h"
#include "tables/tables.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Its sentences for the reference. */
const char *ctl_manual(enum command command);

enum { CTL_WORDS_MOST = 16, CTL_USAGE_TEXT = 256 };

/* "pin USER BACKEND", with what may be left out in brackets. */
const char *ctl_usage(enum command command, char out[CTL_USAGE_TEXT]);

/* The command whose words the first of `words` are, and how many they are. The error says which may
 * be meant. */
int ctl_find(const char *const *words, size_t n, enum command *out_command, size_t *out_used,
             struct err *err) MUST_CHECK;

struct ctl_line {
    const char *file;   /* -c; NULL: the usual one */
    const char *socket; /* --socket; NULL: the configuration says it */
    bool is_json, is_wait, is_help;
    const char *words[CTL_WORDS_MOST]; /* the command's, and its arguments by order */
    size_t words_n;
    size_t front_n; /* of them, before "--": only these may be the command's own */
    struct {
        const char *name, *value; /* "user", "ann" for --user ann; points into argv */
        size_t name_n;
    } named[CTL_WORDS_MOST];
    size_t named_n;
};

/* Sorts what was typed; argv[0] is "ctl". Our own options may stand anywhere, and behind "--" is
 * nothing but words, and behind a command and "--" nothing but arguments: "penalties -- clear" is
 * about a user of that name. */
int ctl_line_parse(int argc, char **argv, struct ctl_line *out_line, struct err *err) MUST_CHECK;

/* The request. Each argument that a command takes by order may be given by name as well. The error
 * says what is missing or too much. The caller frees *out_request. */
int ctl_request(const struct ctl_line *line, enum command *out_command, json_t **out_request,
                struct err *err) MUST_CHECK;

#endif
