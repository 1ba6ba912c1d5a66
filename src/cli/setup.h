/* What the parts of `thurn setup` share. */
#ifndef THURN_CLI_SETUP_H
#define THURN_CLI_SETUP_H

#include "cli/cli.h"

enum { SETUP_NAME = 256, SETUP_PATH = 4096 };

struct setup {
    struct cli *cli;
    char domain[SETUP_NAME];   /* lower case */
    char hostname[SETUP_NAME]; /* mail.DOMAIN */
    char account[SETUP_NAME + 16];
    char password[24]; /* generated */
    char config[SETUP_PATH], tls_dir[SETUP_PATH], chain[SETUP_PATH], key[SETUP_PATH];
    const char *data_dir;
    char language[32]; /* of the first account's folders */
    bool guessed;      /* from the environment: English if there are no names in it */
};

/* Prints into a fixed array; false, with a word to the user, if it is too small. */
PRINTF(3, 4) MUST_CHECK bool setup_text(char *out, size_t n, const char *fmt, ...);
/* A new file with this content, safe on the disk; false, with a word to the user, if it is there
 * already or cannot be written. */
MUST_CHECK bool setup_file(const char *path, mode_t mode, struct str content);

/* -- setup_start.c -- */

/* Runs thurn for a moment, without any listener, and makes the domain and its first account. */
MUST_CHECK bool setup_start(const struct setup *s);

/* -- setup_report.c -- */

/* Prints what was made and the DNS records to publish for what `config` listens to. */
void setup_report(const struct setup *s, const Thurn__Configuration *config);

#endif
