/* Which unix sockets look like an IMAP server's. Pure. */
#include "ports/paths.h"

/* Folders of sockets that take logins or mail, and whose names need not tell IMAP. */
static const struct known_folder {
    struct slice server; /* how a component begins that stands before `folder` somewhere */
    struct slice folder; /* the component right before the socket's own name */
} known_folders[] = {
    {SLICE("dovecot"), SLICE("login")},       /* /run/dovecot/login/login */
    {SLICE("dovecot"), SLICE("token-login")}, /* /run/dovecot/token-login/imap-urlauth */
    {SLICE("cyrus"), SLICE("socket")},        /* /run/cyrus/socket/lmtp */
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "imap", "imapd", "imap-login", "uw.imap4.sock", but not "minimap". */
static bool has_imap(struct slice s)
{
    for (size_t i = 0; i + 4 <= s.n; i++) {
        if ((i == 0 || !is_letter(s.p[i - 1])) && slice_ieq(slice_sub(s, i, i + 4), SLICE("imap")))
            return true;
    }
    return false;
}

/* Cuts the last component off. */
static struct slice last_of(struct slice *path)
{
    size_t end = path->n;
    struct slice last;

    while (path->n > 0 && path->p[path->n - 1] != '/')
        path->n--;
    last = slice_sub(slice_of(path->p, end), path->n, end);
    if (path->n > 0)
        path->n--;
    return last;
}

static bool has_component(struct slice path, struct slice prefix)
{
    while (path.n > 0) {
        if (slice_istarts(last_of(&path), prefix))
            return true;
    }
    return false;
}

bool path_is_imap(struct slice name)
{
    struct slice folder;

    if (has_imap(name))
        return true;
    (void)last_of(&name);
    folder = last_of(&name);
    for (size_t i = 0; i < sizeof known_folders / sizeof known_folders[0]; i++) {
        if (slice_eq(folder, known_folders[i].folder) &&
            has_component(name, known_folders[i].server))
            return true;
    }
    return false;
}
