/* The report as one page of HTML, for whoever ordered the move and was not there. No scripts: a
 * reason is picked by a link to its section, which hides the others by :target; dark or light is
 * the reader's choice. Whatever comes from servers goes through put(). */
#include "sync/report_words.h"

#include "base/utf8.h"

#include <errno.h>
#include <string.h>

/* Of more folders those that are as they should be are folded away. */
enum { FOLDERS_OPEN = 30 };

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--fg:#1c2330;--dim:#5d6878;"
    "--line:#e1e5ea;--good:#1a7f4b;--warn:#9a6700;--bad:#c0362c;--goodbg:#e3f5ea;"
    "--warnbg:#fdf3d8;--badbg:#fdeae8;--found:#9db4d0;--carried:#2f9e63;--open:#d9534a}"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1a2029;--fg:#e4e8ee;"
    "--dim:#98a3b3;--line:#2c3542;--good:#5cc98d;--warn:#e0b040;--bad:#f0857b;--goodbg:#15301f;"
    "--warnbg:#33290f;--badbg:#3a1c1a;--found:#4d6583;--carried:#37a46a;--open:#d9534a}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"
    "'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    "main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}"
    "h1{font-size:22px;margin:0 0 2px}h2{font-size:17px;margin:36px 0 10px}"
    "h3{font-size:15px;margin:0}a{color:inherit}"
    ".way{color:var(--dim);margin:0 0 18px;overflow-wrap:anywhere}"
    ".verdict{border-radius:10px;padding:16px 20px;font-size:17px;font-weight:600;"
    "border-left:6px solid;overflow-wrap:anywhere}"
    ".good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}"
    ".verdict.good{background:var(--goodbg)}.verdict.warn{background:var(--warnbg)}"
    ".verdict.bad{background:var(--badbg)}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;"
    "margin:16px 0}"
    ".card,.box{background:var(--card);border:1px solid var(--line);border-radius:10px}"
    ".card{padding:12px 16px}.card "
    "b{display:block;font-size:21px;line-height:1.3;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}.card span{color:var(--dim);font-size:13px}"
    ".box{overflow-x:auto}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 18px;margin:0;padding:14px 18px}"
    "dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;min-width:640px}"
    "th{font-weight:500;color:var(--dim);font-size:13px;text-align:left;white-space:nowrap}"
    "th,td{padding:7px 12px;border-bottom:1px solid var(--line);vertical-align:top}"
    "th:first-child,td:first-child{padding-left:16px}tr:last-child td{border-bottom:0}tr:target "
    "td{background:var(--warnbg)}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td.name{overflow-wrap:anywhere;min-width:140px}"
    ".to{color:var(--dim);font-size:13px}"
    ".pill{border-radius:9px;padding:1px 9px;font-size:13px;white-space:nowrap}"
    ".pill.good{background:var(--goodbg)}.pill.warn{background:var(--warnbg)}"
    ".pill.bad{background:var(--badbg)}"
    ".bar{display:flex;height:9px;width:150px;margin-top:7px;border-radius:5px;overflow:hidden;"
    "background:var(--line)}.bar i{display:block}"
    ".f{background:var(--found)}.c{background:var(--carried)}.o{background:var(--open)}"
    ".key{color:var(--dim);font-size:13px;margin:8px 2px}"
    ".key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin:0 5px 0 12px}"
    ".chips{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 14px}"
    ".chips a{background:var(--card);border:1px solid var(--line);border-radius:16px;"
    "padding:3px 13px;text-decoration:none}.chips a:hover{border-color:var(--dim)}"
    ".chips b{font-variant-numeric:tabular-nums}"
    "section.reason{margin:0 0 18px;scroll-margin-top:130px}"
    "section.reason header{padding:12px 16px;border-bottom:1px solid var(--line)}"
    "section.reason header p{margin:2px 0 0;color:var(--dim)}"
    "section.reason table{table-layout:fixed}"
    "section.reason th:nth-child(1){width:25%}section.reason th:nth-child(2){width:9%}"
    "section.reason th:nth-child(3){width:11%}section.reason th:nth-child(4){width:25%}"
    "section.reason:last-child{margin:0}"
    "#issues:has(section:target) section:not(:target){display:none}"
    "summary{cursor:pointer;padding:10px 16px;color:var(--dim)}"
    "footer{color:var(--dim);font-size:13px;margin-top:36px}"
    "@media print{body{background:#fff}.box{overflow:visible}}";

/* --- text ------------------------------------------------------------------------------------- */

/* What is no character, and what only steers, is shown as U+FFFD. */
static void put_char(struct slice c, FILE *out)
{
    switch (c.p[0]) {
    case '&':
        fputs("&amp;", out);
        break;
    case '<':
        fputs("&lt;", out);
        break;
    case '>':
        fputs("&gt;", out);
        break;
    case '"':
        fputs("&quot;", out);
        break;
    case '\'':
        fputs("&#39;", out);
        break;
    default:
        if ((unsigned char)c.p[0] < ' ' || c.p[0] == 0x7f ||
            (c.n == 2 && c.p[0] == '\xc2' && (unsigned char)c.p[1] < 0xa0))
            c = SLICE("\xef\xbf\xbd");
        fwrite(c.p, 1, c.n, out);
    }
}

static void put(const char *text, FILE *out)
{
    struct slice rest = slice_str(text);

    while (rest.n > 0) {
        size_t n = utf8_char(rest);

        put_char(n > 0 ? slice_sub(rest, 0, n) : SLICE("\xef\xbf\xbd"), out);
        rest = slice_sub(rest, n > 0 ? n : 1, rest.n);
    }
}

/* Apart from what is around it, whatever direction it is written in. */
static void put_apart(const char *text, FILE *out)
{
    fputs("<bdi>", out);
    put(text, out);
    fputs("</bdi>", out);
}

static const char *class_of(enum sync_opinion opinion)
{
    switch (opinion) {
    case SYNC_GOOD:
        return "good";
    case SYNC_DOUBTFUL:
        return "warn";
    case SYNC_BAD:
        return "bad";
    }
    return "";
}

/* --- the top ---------------------------------------------------------------------------------- */

static const char *title_of(const struct sync_report *report)
{
    switch (report->what) {
    case SYNC_ALL:
        return report->is_dry ? "Dry run of a sync" : "Sync of an account";
    case SYNC_VERIFY:
        return "Verification of an account";
    case SYNC_LOGIN:
        return "Login at both servers";
    case SYNC_FOLDERS:
        return "Sync of folders";
    case SYNC_SIZES:
        return "Sizes of folders";
    }
    return "";
}

static void put_top(const struct sync_report *report, FILE *out)
{
    char verdict[SYNC_VERDICT];
    enum sync_opinion opinion = sync_verdict(report, verdict);

    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
          "<meta name=\"referrer\" content=\"no-referrer\">"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'\">"
          "<title>",
          out);
    fprintf(out, "%s</title>\n<style>%s</style></head>\n<body><main>\n<h1>%s</h1>\n",
            title_of(report), style, title_of(report));
    fputs("<p class=\"way\">", out);
    put_apart(report->from, out);
    fputs(" → ", out);
    put_apart(report->to, out);
    fprintf(out, "<br>%s</p>\n<div class=\"verdict %s\">%s ", figure_date(report->began_s).text,
            class_of(opinion),
            opinion == SYNC_GOOD  ? "✓"
            : opinion == SYNC_BAD ? "✗"
                                  : "•");
    put(verdict, out);
    fputs("</div>\n", out);
}

static void put_card(FILE *out, const char *class, const char *value, const char *label)
{
    fprintf(out, "<div class=\"card\"><b class=\"%s\">%s</b><span>%s</span></div>\n", class, value,
            label);
}

static void put_cards(const struct sync_report *report, FILE *out)
{
    const struct sync_folder t = sync_total(report);
    const struct sync_counts c = sync_counts(report);

    fputs("<div class=\"cards\">\n", out);
    put_card(out, "", figure_number(t.chosen > 0 ? t.chosen : t.from_messages).text,
             "messages at the source");
    if (report->is_dry)
        put_card(out, "", figure_number(t.would_carry).text, "would be carried");
    else if (report->what == SYNC_ALL)
        put_card(out, "", figure_number(t.carried).text, "carried now");
    if (!report->is_dry && (report->what == SYNC_ALL || report->what == SYNC_VERIFY))
        put_card(out, "", figure_number(t.proof.paired).text, "found at the target");
    put_card(out, c.exceptions > 0 ? "bad" : "good", figure_number(c.exceptions).text,
             c.exceptions == 1 ? "exception" : "exceptions");
    put_card(out, c.differences > 0 ? "bad" : "good", figure_number(c.differences).text,
             c.differences == 1 ? "difference" : "differences");
    put_card(out, "", figure_time(report->took_ms).text, "taken");
    fputs("</div>\n", out);
}

static void put_summary(const struct sync_report *report, FILE *out)
{
    char text[SYNC_VERDICT];
    const char *title;

    fputs("<div class=\"box\"><dl>\n", out);
    for (unsigned i = 0; sync_summary(report, i, &title, text); i++) {
        if (!text[0])
            continue;
        fprintf(out, "<dt>%s</dt><dd>", title);
        put(text, out);
        fputs("</dd>\n", out);
    }
    fputs("</dl></div>\n", out);
}

/* --- folders ---------------------------------------------------------------------------------- */

static void put_part(FILE *out, const char *class, uint64_t n, uint64_t of)
{
    if (n > 0 && of > 0)
        fprintf(out, "<i class=\"%s\" style=\"width:%.2f%%\"></i>", class,
                (double)n / (double)of * 100);
}

/* Found, carried, and what is not there. */
static void put_bar(const struct sync_folder *f, FILE *out)
{
    uint64_t found = f->state == FOLDER_UNCHANGED ? f->chosen : f->found;
    uint64_t here = found + f->carried;
    uint64_t all = here > f->chosen ? here : f->chosen;

    fprintf(out, "<div class=\"bar\" title=\"%s of ", figure_number(here).text);
    fprintf(out, "%s\">", figure_number(all).text);
    put_part(out, "f", found, all);
    put_part(out, "c", f->carried, all);
    put_part(out, "o", all - here, all);
    fputs("</div>", out);
}

static void put_count(FILE *out, uint64_t n, const char *class)
{
    fprintf(out, "<td class=\"n %s\">%s</td>", class, n > 0 ? figure_number(n).text : "");
}

static void put_folder(const struct sync_report *report, size_t i, FILE *out)
{
    const struct sync_folder *f = &report->folders[i];

    fprintf(out, "<tr id=\"f%zu\"><td class=\"name\">", i);
    put_apart(f->from, out);
    if (f->to && strcmp(f->from, f->to) != 0) {
        fputs("<div class=\"to\">→ ", out);
        put_apart(f->to, out);
        fputs("</div>", out);
    }
    fputs("</td><td>", out);
    put_bar(f, out);
    fprintf(out, "</td><td class=\"n\">%s</td><td class=\"n\">",
            figure_number(f->from_messages).text);
    fprintf(out, "%s</td>", figure_bytes(f->from_bytes).text);
    put_count(out, report->is_dry ? f->would_carry : f->carried, "");
    put_count(out, report->is_dry ? f->would_set : f->flags_set, "");
    put_count(out, report->is_dry ? f->would_delete : f->deleted, "warn");
    put_count(out, f->refused, "bad");
    put_count(out, f->extra, "");
    put_count(out, f->proof.differences, "bad");
    fprintf(out, "<td><span class=\"pill %s\">%s</span></td></tr>\n",
            class_of(sync_folder_opinion(report, f)), sync_folder_word(report, f));
}

/* Those that are as they should be, or the others. */
static void put_folder_table(const struct sync_report *report, bool is_all, bool is_quiet,
                             FILE *out)
{
    fputs("<table><thead><tr><th>Folder</th><th></th><th class=\"n\">Messages</th>"
          "<th class=\"n\">Size</th><th class=\"n\">Carried</th><th class=\"n\">Flags</th>"
          "<th class=\"n\">Deleted</th><th class=\"n\">Refused</th><th class=\"n\">Extra</th>"
          "<th class=\"n\">Differences</th><th></th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < report->folders_n; i++) {
        if (is_all || sync_folder_is_quiet(report, &report->folders[i]) == is_quiet)
            put_folder(report, i, out);
    }
    fputs("</tbody></table>", out);
}

static void put_folders(const struct sync_report *report, FILE *out)
{
    bool is_all = report->folders_n <= FOLDERS_OPEN;
    uint64_t quiet = 0;

    for (size_t i = 0; i < report->folders_n; i++)
        quiet += sync_folder_is_quiet(report, &report->folders[i]);
    if (report->folders_n == 0)
        return;
    fputs("<h2>Folders</h2>\n<div class=\"box\">", out);
    if (is_all || quiet < report->folders_n)
        put_folder_table(report, is_all, false, out);
    if (!is_all && quiet > 0) {
        fprintf(out, "<details><summary>%s where nothing had to be done</summary>",
                figure_of(quiet, "folder", "folders").text);
        put_folder_table(report, false, true, out);
        fputs("</details>", out);
    }
    fputs("</div>\n<p class=\"key\"><i class=\"f\"></i>there already<i class=\"c\"></i>carried now"
          "<i class=\"o\"></i>not at the target</p>\n",
          out);
}

/* --- exceptions, differences, notes ----------------------------------------------------------- */

static const char *severity_class(enum sync_reason reason)
{
    return sync_reason_severity(reason) == SYNC_NOTE ? "" : "bad";
}

/* Every reason that was met, the gravest kind first. */
static void each_reason(const struct sync_report *report, FILE *out,
                        void (*each)(const struct sync_report *report, enum sync_reason reason,
                                     FILE *out))
{
    static const enum sync_severity order[] = {SYNC_DIFFERENCE, SYNC_EXCEPTION, SYNC_NOTE};

    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        for (size_t i = 0; i < SYNC_REASONS; i++) {
            enum sync_reason reason = (enum sync_reason)i;

            if (report->counts[i] > 0 && sync_reason_severity(reason) == order[k])
                each(report, reason, out);
        }
    }
}

static void put_chip(const struct sync_report *report, enum sync_reason reason, FILE *out)
{
    const char *name = sync_reason_name(reason);

    fprintf(out, "<a href=\"#%s\">%s <b class=\"%s\">%s</b></a>\n", name, name,
            severity_class(reason), figure_number(report->counts[reason]).text);
}

static void put_uid(FILE *out, uint32_t uid)
{
    if (uid > 0)
        fprintf(out, "<td class=\"n\">%u</td>", uid);
    else
        fputs("<td></td>", out);
}

static void put_issue(const struct sync_report *report, const struct sync_issue *issue, FILE *out)
{
    fputs("<tr><td class=\"name\">", out);
    if (issue->folder < report->folders_n) {
        fprintf(out, "<a href=\"#f%u\">", issue->folder);
        put_apart(report->folders[issue->folder].from, out);
        fputs("</a></td>", out);
    } else {
        fputs("the account</td>", out);
    }
    put_uid(out, issue->from_uid);
    put_uid(out, issue->to_uid);
    fputs("<td class=\"name\">", out);
    put_apart(issue->subject ? issue->subject : "", out);
    fputs("</td><td class=\"name\">", out);
    put_apart(issue->text ? issue->text : "", out);
    fputs("</td></tr>\n", out);
}

static void put_reason(const struct sync_report *report, enum sync_reason reason, FILE *out)
{
    uint64_t listed = 0;

    fprintf(out, "<section class=\"reason box\" id=\"%s\"><header><h3>", sync_reason_name(reason));
    fprintf(out, "<span class=\"%s\">%s</span> (%s)</h3><p>%s%s</p></header>\n<table><thead><tr>",
            severity_class(reason), sync_reason_name(reason),
            figure_number(report->counts[reason]).text, sync_reason_text(reason),
            sync_reason_may_retry(reason) ? " A further run may help." : "");
    fputs("<th>Folder</th><th class=\"n\">UID</th><th class=\"n\">Target UID</th>"
          "<th>Subject</th><th>Words</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < report->issues_n; i++) {
        if (report->issues[i].reason == reason) {
            put_issue(report, &report->issues[i], out);
            listed++;
        }
    }
    if (listed < report->counts[reason])
        fprintf(out, "<tr><td colspan=\"5\">and %s more: see the log</td></tr>\n",
                figure_number(report->counts[reason] - listed).text);
    fputs("</tbody></table></section>\n", out);
}

static void put_issues(const struct sync_report *report, FILE *out)
{
    const struct sync_counts c = sync_counts(report);

    if (c.exceptions + c.differences + c.notes == 0)
        return;
    fputs("<h2>Exceptions, differences and notes</h2>\n<nav class=\"chips\">"
          "<a href=\"#issues\">all</a>\n",
          out);
    each_reason(report, out, put_chip);
    fputs("</nav>\n<div id=\"issues\">\n", out);
    each_reason(report, out, put_reason);
    fputs("</div>\n", out);
}

int sync_report_html(const struct sync_report *report, FILE *out, struct err *err)
{
    put_top(report, out);
    put_cards(report, out);
    put_summary(report, out);
    put_issues(report, out);
    put_folders(report, out);
    fprintf(out, "<footer>usher %s, exit status %d</footer>\n</main></body></html>\n",
            USHER_VERSION, report->status);
    if (fflush(out) != 0 || ferror(out))
        return err_sys(err, errno, "writing it");
    return 0;
}
