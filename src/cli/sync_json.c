/* usher sync --json, usher verify --json: the whole report as one object. Its names stay as they
 * are; docs/sync.md lists them. Folders and issues are made and forgotten one after the other,
 * since there may be a hundred thousand of them. */
#include "cli/sync_parts.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "sync/report_words.h"

#include <jansson.h>
#include <string.h>

enum { FORMAT = 1, TEXT_MOST = 1 << 20 };

/* Jansson refuses what is NULL, so memory that is out shows where a value is put. */
struct writer {
    FILE *out;
    bool is_failed;
};

static void put(struct writer *w, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        w->is_failed = true;
}

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* Bytes that are no UTF-8 become U+FFFD each; NULL is null. */
static json_t *text(const char *s)
{
    struct slice rest = slice_str(s);
    struct buf safe;
    json_t *value = NULL;
    int failed = 0;

    if (!s)
        return json_null();
    buf_init(&safe, TEXT_MOST, false);
    while (rest.n > 0 && failed == 0) {
        size_t n = utf8_char(rest);

        failed = buf_put(&safe, n > 0 ? slice_sub(rest, 0, n) : SLICE("\xef\xbf\xbd"));
        rest = slice_sub(rest, n > 0 ? n : 1, rest.n);
    }
    if (failed == 0)
        value = json_stringn(buf_len(&safe) > 0 ? buf_slice(&safe).p : "", buf_len(&safe));
    buf_release(&safe);
    return value;
}

/* "" is null: there is none. */
static json_t *text_if_any(const char *s)
{
    return text(s && s[0] ? s : NULL);
}

static json_t *uid(uint32_t n)
{
    return n > 0 ? number(n) : json_null();
}

static json_t *seconds(uint64_t ms)
{
    return json_real((double)ms / 1000);
}

/* Writes one value, and forgets it. */
static void dump(struct writer *w, json_t *value, size_t flags)
{
    if (!value || w->is_failed ||
        json_dumpf(value, w->out, JSON_COMPACT | JSON_REAL_PRECISION(15) | flags) != 0)
        w->is_failed = true;
    json_decref(value);
}

/* --- parts ------------------------------------------------------------------------------------ */

static const char *what_name(enum sync_what what)
{
    switch (what) {
    case SYNC_ALL:
        return "sync";
    case SYNC_VERIFY:
        return "verify";
    case SYNC_LOGIN:
        return "login";
    case SYNC_FOLDERS:
        return "folders";
    case SYNC_SIZES:
        return "sizes";
    }
    return NULL;
}

static const char *state_name(enum sync_folder_state state)
{
    switch (state) {
    case FOLDER_WAITING:
        return "waiting";
    case FOLDER_REFUSED:
        return "refused";
    case FOLDER_FAILED:
        return "failed";
    case FOLDER_UNCHANGED:
        return "unchanged";
    case FOLDER_DONE:
        return "done";
    }
    return NULL;
}

static const char *severity_name(enum sync_severity severity)
{
    switch (severity) {
    case SYNC_NOTE:
        return "note";
    case SYNC_EXCEPTION:
        return "exception";
    case SYNC_DIFFERENCE:
        return "difference";
    }
    return NULL;
}

/* The same of a folder and of the sum of all. */
static void put_counts(struct writer *w, json_t *o, const struct sync_folder *f)
{
    json_t *proof = json_object(), *would = json_object();

    put(w, o, "from_messages", number(f->from_messages));
    put(w, o, "to_messages", number(f->to_messages));
    put(w, o, "from_bytes", number(f->from_bytes));
    put(w, o, "to_bytes", number(f->to_bytes));
    put(w, o, "chosen", number(f->chosen));
    put(w, o, "found", number(f->found));
    put(w, o, "carried", number(f->carried));
    put(w, o, "carried_bytes", number(f->carried_bytes));
    put(w, o, "flags_set", number(f->flags_set));
    put(w, o, "deleted", number(f->deleted));
    put(w, o, "refused", number(f->refused));
    put(w, o, "extra", number(f->extra));
    put(w, would, "carry", number(f->would_carry));
    put(w, would, "carry_bytes", number(f->would_carry_bytes));
    put(w, would, "set_flags", number(f->would_set));
    put(w, would, "delete", number(f->would_delete));
    put(w, o, "would", would);
    put(w, proof, "proven", json_boolean(f->proof.is_proven));
    put(w, proof, "paired", number(f->proof.paired));
    put(w, proof, "flags", number(f->proof.flags));
    put(w, proof, "dates", number(f->proof.dates));
    put(w, proof, "sampled", number(f->proof.sampled));
    put(w, proof, "digests", number(f->proof.digests));
    put(w, proof, "differences", number(f->proof.differences));
    put(w, o, "proof", proof);
}

static json_t *folder(struct writer *w, const struct sync_folder *f)
{
    json_t *o = json_object();

    put(w, o, "from", text(f->from));
    put(w, o, "to", text(f->to));
    put(w, o, "state", text(state_name(f->state)));
    put_counts(w, o, f);
    put(w, o, "seconds", seconds(f->took_ms));
    return o;
}

static json_t *issue(struct writer *w, const struct sync_report *report, const struct sync_issue *i)
{
    const struct sync_folder *f =
        i->folder < report->folders_n ? &report->folders[i->folder] : NULL;
    json_t *o = json_object();

    put(w, o, "reason", text(sync_reason_name(i->reason)));
    put(w, o, "severity", text(severity_name(sync_reason_severity(i->reason))));
    put(w, o, "may_retry", json_boolean(sync_reason_may_retry(i->reason)));
    put(w, o, "folder", text(f ? f->from : NULL));
    put(w, o, "from_uid", uid(i->from_uid));
    put(w, o, "to_uid", uid(i->to_uid));
    put(w, o, "subject", text_if_any(i->subject));
    put(w, o, "text", text_if_any(i->text));
    return o;
}

static json_t *reasons(struct writer *w, const struct sync_report *report)
{
    json_t *all = json_array();

    for (size_t i = 0; i < SYNC_REASONS; i++) {
        enum sync_reason reason = (enum sync_reason)i;
        json_t *o;

        if (report->counts[i] == 0)
            continue;
        o = json_object();
        put(w, o, "reason", text(sync_reason_name(reason)));
        put(w, o, "severity", text(severity_name(sync_reason_severity(reason))));
        put(w, o, "count", number(report->counts[i]));
        put(w, o, "may_retry", json_boolean(sync_reason_may_retry(reason)));
        put(w, o, "text", text(sync_reason_text(reason)));
        if (json_array_append_new(all, o) != 0)
            w->is_failed = true;
    }
    return all;
}

static json_t *totals(struct writer *w, const struct sync_report *report)
{
    const struct sync_folder sum = sync_total(report);
    const struct sync_counts counts = sync_counts(report);
    json_t *o = json_object();

    put(w, o, "folders", number(report->folders_n));
    put_counts(w, o, &sum);
    put(w, o, "exceptions", number(counts.exceptions));
    put(w, o, "differences", number(counts.differences));
    put(w, o, "notes", number(counts.notes));
    put(w, o, "may_retry", number(counts.retry));
    put(w, o, "issues_listed", number(report->issues_n));
    return o;
}

static json_t *head(struct writer *w, const struct sync_report *report)
{
    char verdict[SYNC_VERDICT];
    /* The others look at no mail, or leave it as it is. */
    bool proves = (report->what == SYNC_ALL || report->what == SYNC_VERIFY) && !report->is_dry;
    json_t *o = json_object(), *wire = json_object();

    sync_verdict(report, verdict);
    put(w, o, "format", number(FORMAT));
    put(w, o, "what", text(what_name(report->what)));
    put(w, o, "dry", json_boolean(report->is_dry));
    put(w, o, "full", json_boolean(report->is_full));
    put(w, o, "from", text(report->from));
    put(w, o, "to", text(report->to));
    put(w, o, "status", json_integer(report->status));
    put(w, o, "proven", json_boolean(proves && sync_is_proven(report)));
    put(w, o, "verdict", text(verdict));
    put(w, o, "signal", report->stopped_by ? json_integer(report->stopped_by) : json_null());
    put(w, o, "failure", text_if_any(report->failure.text));
    put(w, o, "began", json_integer(report->began_s));
    put(w, o, "seconds", seconds(report->took_ms));
    put(w, o, "cpu_seconds", seconds(report->cpu_ms));
    put(w, o, "peak_memory", number(report->peak_memory));
    put(w, o, "connections", number(report->lanes));
    put(w, wire, "from", number(report->from_wire));
    put(w, wire, "to", number(report->to_wire));
    put(w, o, "wire_bytes", wire);
    put(w, o, "journal", text(report->journal));
    put(w, o, "totals", totals(w, report));
    put(w, o, "reasons", reasons(w, report));
    return o;
}

/* --- the whole -------------------------------------------------------------------------------- */

static const char *separator(size_t i)
{
    return i == 0 ? "\n" : ",\n";
}

int sync_print_json(const struct sync_report *report, FILE *out)
{
    struct writer w = {.out = out};

    fputs("{", out);
    dump(&w, head(&w, report), JSON_EMBED);
    fputs(",\n\"folders\":[", out);
    for (size_t i = 0; i < report->folders_n && !w.is_failed; i++) {
        fputs(separator(i), out);
        dump(&w, folder(&w, &report->folders[i]), 0);
    }
    fputs("],\n\"issues\":[", out);
    for (size_t i = 0; i < report->issues_n && !w.is_failed; i++) {
        fputs(separator(i), out);
        dump(&w, issue(&w, report, &report->issues[i]), 0);
    }
    fputs("]}\n", out);
    return w.is_failed || ferror(out) ? -1 : 0;
}
