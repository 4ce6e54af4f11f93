/* usher ctl: from what was typed to a request. */
#include "cli/ctl_words.h"

#include "base/slice.h"
#include "conf/nearest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const manuals[COMMAND_COUNT] = {
#define COMMAND(NAME, words, right, arguments, director, manual) [COMMAND_##NAME] = manual,
#include "tables/commands.def"
#undef COMMAND
};

const char *ctl_manual(enum command command)
{
    INSIST(command < COMMAND_COUNT);
    return manuals[command];
}

const char *ctl_usage(enum command command, char out[CTL_USAGE_TEXT])
{
    struct command_argument all[COMMAND_ARGUMENTS_MAX];
    size_t n = command_arguments(command, all);
    int at = snprintf(out, CTL_USAGE_TEXT, "%s", command_words(command));

    for (size_t i = 0; i < n; i++) {
        const size_t room = CTL_USAGE_TEXT - (size_t)at;

        if (all[i].is_named)
            at += snprintf(out + at, room, " [--%s %s]", all[i].name, all[i].value);
        else
            at += snprintf(out + at, room, all[i].is_necessary ? " %s" : " [%s]", all[i].value);
        INSIST(at > 0 && at < CTL_USAGE_TEXT);
    }
    return out;
}

/* --- the command ------------------------------------------------------------------------------ */

/* How many of the words the command's own are; 0: it is another. */
static size_t match(const char *own, const char *const *words, size_t n)
{
    struct slice rest = slice_str(own);

    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(words[i]);

        if (!slice_eq(slice_sub(rest, 0, length), slice_str(words[i])))
            return 0;
        if (rest.n == length)
            return i + 1;
        if (rest.p[length] != ' ')
            return 0;
        rest = slice_sub(rest, length + 1, rest.n);
    }
    return 0;
}

/* Whether the word is the first or the last of a command that has more. */
static bool is_part(const char *word, const char *own)
{
    const size_t n = strlen(word), own_n = strlen(own);

    if (n == 0 || own_n <= n)
        return false;
    return (strncmp(own, word, n) == 0 && own[n] == ' ') ||
           (strcmp(own + own_n - n, word) == 0 && own[own_n - n - 1] == ' ');
}

/* Half a command: "backend", which goes on with up, drain or down, or "down" alone. */
static int unfinished(const char *word, struct err *err)
{
    char list[256] = "";

    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        const char *own = command_words((enum command)i);

        if (is_part(word, own))
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s\"%s\"",
                     list[0] ? ", " : "", own);
    }
    return list[0] ? err_set(err, 0, "there is no command \"%s\" alone, but %s", word, list) : 0;
}

static int unknown(const char *const *words, size_t n, struct err *err)
{
    const char *names[COMMAND_COUNT];
    const char *near;
    char typed[128];

    for (unsigned i = 0; i < COMMAND_COUNT; i++)
        names[i] = command_words((enum command)i);
    if (unfinished(words[0], err) != 0)
        return -1;
    near = nearest(words[0], names, COMMAND_COUNT);
    if (n > 1) {
        const char *both;

        snprintf(typed, sizeof typed, "%s %s", words[0], words[1]);
        both = nearest(typed, names, COMMAND_COUNT);
        near = near ? near : both;
    }
    return err_set(err, 0, "there is no command \"%s\"%s%s%s", words[0],
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

int ctl_find(const char *const *words, size_t n, enum command *out_command, size_t *out_used,
             struct err *err)
{
    size_t best = 0;

    if (n == 0)
        return err_set(err, 0, "a command is missing");
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        size_t used = match(command_words((enum command)i), words, n);

        if (used > best) {
            best = used;
            *out_command = (enum command)i;
        }
    }
    *out_used = best;
    return best > 0 ? 0 : unknown(words, n, err);
}

/* --- the line --------------------------------------------------------------------------------- */

static int add_word(struct ctl_line *line, const char *word, struct err *err)
{
    if (line->words_n == CTL_WORDS_MOST)
        return err_set(err, 0, "too many words");
    line->words[line->words_n++] = word;
    return 0;
}

/* An option that takes a value: "--name VALUE" or "--name=VALUE". */
static int add_named(struct ctl_line *line, const char *word, const char *next, bool *out_next,
                     struct err *err)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    const size_t name_n = equals ? (size_t)(equals - name) : strlen(name);
    const char *value = equals ? equals + 1 : next;
    const struct slice given = slice_of(name, name_n);

    if (!value)
        return err_set(err, 0, "a value is missing behind %s", word);
    *out_next = !equals;
    if (slice_eq(given, SLICE("config"))) {
        line->file = value;
    } else if (slice_eq(given, SLICE("socket"))) {
        line->socket = value;
    } else if (line->named_n == CTL_WORDS_MOST) {
        return err_set(err, 0, "too many options");
    } else {
        line->named[line->named_n].name = name;
        line->named[line->named_n].name_n = name_n;
        line->named[line->named_n++].value = value;
    }
    return 0;
}

static bool is_flag(struct ctl_line *line, const char *word)
{
    if (strcmp(word, "--json") == 0)
        return line->is_json = true;
    if (strcmp(word, "--wait") == 0)
        return line->is_wait = true;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return line->is_help = true;
    return false;
}

int ctl_line_parse(int argc, char **argv, struct ctl_line *out_line, struct err *err)
{
    struct ctl_line line = {0};
    bool are_words = false;

    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool takes_next = false;

        if (are_words || word[0] != '-' || !word[1]) {
            if (add_word(&line, word, err) != 0)
                return -1;
        } else if (strcmp(word, "--") == 0) {
            are_words = true;
            line.front_n = line.words_n;
        } else if (strncmp(word, "-c", 2) == 0) {
            line.file = word[2] ? word + 2 : argv[i + 1];
            takes_next = !word[2];
            if (!line.file)
                return err_set(err, 0, "a value is missing behind -c");
        } else if (!is_flag(&line, word)) {
            if (word[1] != '-')
                return err_set(err, 0, "unknown option %s", word);
            if (add_named(&line, word, argv[i + 1], &takes_next, err) != 0)
                return -1;
        }
        i += takes_next;
    }
    if (line.front_n == 0)
        line.front_n = line.words_n;
    *out_line = line;
    return 0;
}

/* --- the request ------------------------------------------------------------------------------ */

/* Puts a value under its name: once, not empty, and UTF-8, as JSON is. */
static int put(json_t *request, const char *key, const char *value, struct err *err)
{
    json_t *text;

    if (json_object_get(request, key))
        return err_set(err, 0, "%s is given twice", key);
    if (!value[0])
        return err_set(err, 0, "%s is empty", key);
    text = json_string(value);
    if (!text)
        return err_set(err, 0, "%s is no text in UTF-8", key);
    if (json_object_set_new(request, key, text) != 0)
        return err_set(err, 0, "out of memory");
    return 0;
}

static int put_named(json_t *request, enum command command, const struct command_argument *all,
                     size_t n, struct slice name, const char *value, struct err *err)
{
    const char *names[COMMAND_ARGUMENTS_MAX];
    const char *near;
    char word[32];

    for (size_t i = 0; i < n; i++) {
        names[i] = all[i].name;
        if (slice_eq(name, slice_str(names[i])))
            return put(request, names[i], value, err);
    }
    snprintf(word, sizeof word, "%.*s", SLICE_ARG(name));
    near = nearest(word, names, n);
    return err_set(err, 0, "%s takes no --%s%s%s%s", command_words(command), word,
                   near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

/* Words that are left go to what has not been given by name, in the row's order. */
static int put_ordered(json_t *request, enum command command, const struct command_argument *all,
                       size_t n, const char *const *words, size_t words_n, struct err *err)
{
    char usage[CTL_USAGE_TEXT];
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        if (all[i].is_named || json_object_get(request, all[i].name))
            continue;
        if (used < words_n) {
            if (put(request, all[i].name, words[used++], err) != 0)
                return -1;
        } else if (all[i].is_necessary) {
            return err_set(err, 0, "%s is missing; write: usher ctl %s", all[i].value,
                           ctl_usage(command, usage));
        }
    }
    if (used < words_n)
        return err_set(err, 0, "\"%s\" is too much; write: usher ctl %s", words[used],
                       ctl_usage(command, usage));
    return 0;
}

static int fill(json_t *request, const struct ctl_line *line, enum command command, size_t used,
                struct err *err)
{
    struct command_argument all[COMMAND_ARGUMENTS_MAX];
    size_t n = command_arguments(command, all);

    if (line->is_wait && command != COMMAND_MOVE)
        return err_set(err, 0, "--wait is for move; %s is done when it is answered",
                       command_words(command));
    if (put(request, "command", command_words(command), err) != 0)
        return -1;
    for (size_t i = 0; i < line->named_n; i++)
        if (put_named(request, command, all, n,
                      slice_of(line->named[i].name, line->named[i].name_n), line->named[i].value,
                      err) != 0)
            return -1;
    return put_ordered(request, command, all, n, line->words + used, line->words_n - used, err);
}

int ctl_request(const struct ctl_line *line, enum command *out_command, json_t **out_request,
                struct err *err)
{
    json_t *request;
    size_t used;

    if (ctl_find(line->words, line->front_n, out_command, &used, err) != 0)
        return -1;
    request = json_object();
    if (fill(request, line, *out_command, used, err) != 0) {
        json_decref(request);
        return -1;
    }
    *out_request = request;
    return 0;
}
