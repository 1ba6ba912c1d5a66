/*
 * The configuration file: read and checked in a child without privileges, returned as typed
 * records. The supervisor never parses a byte of it.
 */
#ifndef THURN_CONFIG_H
#define THURN_CONFIG_H

#include "rpc/rpc.h"

/* Reads the file in a child process and unpacks its answer into the arena. On failure
 * `explain` is the sentence for the operator, with file and line where there is one. */
MUST_CHECK struct err config_read(const char *path, struct arena *a, Thurn__Configuration **out,
                                  struct buf *explain);
/* The same in this process, for the command line, which runs as whoever calls it. */
void config_parse(FILE *in, const char *path, struct arena *a, Thurn__Configuration *out);

/* How many frontends, scanners and workers there are, where the file leaves it to the machine.
 * config_parse leaves 0 there. */
void config_fit(Thurn__Configuration *c, unsigned processors);

/* All options with their defaults, as a commented configuration file. */
void config_print_defaults(FILE *out);
/* A "listen" section with every listener at its usual port; those for the network on IPv4 and,
 * where this machine has it, IPv6. */
void config_print_listen(FILE *out);
/* A number or, with units, a size as the file has them; false if the text is none. */
bool config_number_of(struct str text, bool size, uint64_t *out);
/* The default of data_dir. */
const char *config_data_dir(void);

#endif
