// Works on INBOX with imapflow and prints what it was told: a JSON value a line, to be compared.
//
//     node imapflow.js TREE ACCOUNT
//
// TREE has imapflow in its node_modules. ACCOUNT is JSON: host, port, user, password, tls ("off", "starttls"
// or "implicit") and ca, the file of the authority to trust. Ends with 1 when anything goes wrong.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const { once } = require("events");

const [tree, account] = [process.argv[2], JSON.parse(process.argv[3])];
const { ImapFlow } = require(`${tree}/node_modules/imapflow`);

const NEW_MAIL = "From: eve@example.org\r\nSubject: A new one\r\n\r\n.\r\n..\r\nFrom here\r\n";
const NEW_DATE = new Date("2024-05-06T07:08:09Z");

function client() {
    return new ImapFlow({
        host: account.host,
        port: account.port,
        secure: account.tls === "implicit",
        doSTARTTLS: account.tls === "starttls",
        tls: account.ca ? { ca: fs.readFileSync(account.ca) } : {},
        auth: { user: account.user, pass: account.password },
        logger: false,
    });
}

// JSON for what it cannot say by itself. A message's text becomes its digest.
function spelled(key, value) {
    if (value && value.type === "Buffer") {
        return crypto.createHash("sha256").update(Buffer.from(value.data)).digest("hex");
    }
    if (value instanceof Map || value instanceof Set) {
        return [...value];
    }
    return typeof value === "bigint" ? `${value}` : value;
}

function tell(what, value) {
    process.stdout.write(`${JSON.stringify({ [what]: value }, spelled)}\n`);
}

async function read(imap) {
    tell("list", await imap.list());
    tell("status", await imap.status("INBOX", { messages: true, uidNext: true, unseen: true }));
    tell("open", await imap.mailboxOpen("INBOX"));
    const wanted = { uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true };
    for await (const message of imap.fetch("1:*", { ...wanted, source: true, bodyParts: ["1"] })) {
        tell("message", message);
    }
    tell("search", await imap.search({ or: [{ subject: "tram" }, { header: { subject: "Größere" } }] }));
    tell("search", await imap.search({ seen: false }, { uid: true }));
    const { meta, content } = await imap.download("7");
    const digest = crypto.createHash("sha256");
    for await (const piece of content) {
        digest.update(piece);
    }
    tell("download", [meta, digest.digest("hex")]);
}

async function change(imap) {
    tell("create", await imap.mailboxCreate("Entwürfe"));
    tell("append", await imap.append("INBOX", NEW_MAIL, ["\\Seen", "$Forwarded"], NEW_DATE));
    tell("add", await imap.messageFlagsAdd("1:4", ["\\Flagged", "Work"]));
    tell("remove", await imap.messageFlagsRemove({ uid: "2" }, ["\\Flagged"]));
    tell("copy", await imap.messageCopy("2:5", "Entwürfe"));
    tell("move", await imap.messageMove("6,8", "Entwürfe"));
    tell("delete", await imap.messageDelete("3"));
    tell("flags", await imap.fetchAll("1:*", { uid: true, flags: true }));
}

// IDLE, until somebody else's mail is told of, twice.
async function idle(imap) {
    const other = client();
    await other.connect();
    for (let count = 0; count < 2; count++) {
        const idling = imap.idle();
        const news = once(imap, "exists");
        await other.append("INBOX", NEW_MAIL, [], NEW_DATE);
        tell("exists", await news);
        await imap.noop();
        tell("idle", await idling);
    }
    await other.logout();
}

async function work() {
    const imap = client();
    await imap.connect();
    tell("compress", imap.writeSocket !== imap.socket);
    tell("capabilities", imap.capabilities);
    tell("namespaces", imap.namespaces);
    await read(imap);
    await change(imap);
    await idle(imap);
    await imap.logout();
}

work().catch((error) => {
    console.error(error);
    process.exit(1);
});
