/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packets of gdb's remote serial protocol: framing, checksums, escapes, numbers. No kernel, no socket.
 * Source: "Debugging with GDB", appendix "GDB Remote Serial Protocol", sections "Overview" and "Packet Acknowledgment".
 */
#ifndef PITH_GDB_PACKET_H
#define PITH_GDB_PACKET_H

#include "../util.h"

#define PACKET_MAX 0x4000			/* of a packet's data, after its escapes are undone */
#define PACKET_ENCODED_MAX (2 * PACKET_MAX + 4) /* of what packet_encode() makes */

enum packet_event {
	PACKET_NONE,	  /* the byte was taken, there is nothing to do */
	PACKET_WHOLE,	  /* a packet is in reader.data */
	PACKET_DAMAGED,	  /* one has arrived with a wrong checksum */
	PACKET_TOO_LONG,  /* one has arrived that has more than PACKET_MAX */
	PACKET_INTERRUPT, /* the user has pressed Ctrl-C */
	PACKET_RESEND,	  /* gdb wants our last packet again */
};

struct packet_reader {
	enum { BETWEEN, IN_DATA, IN_SUM, IN_SUM_LOW } state;
	bool escaped;
	u8 sum;
	u8 said[2]; /* the sum's digits */
	size_t len;
	size_t dropped;
	char data[PACKET_MAX + 1]; /* followed by a NUL, which is not counted */
};

struct reply {
	size_t len;
	char data[PACKET_MAX];
};

enum packet_event packet_take(struct packet_reader *reader, u8 byte);
size_t packet_encode(const struct reply *reply, u8 *out);

void reply_text(struct reply *reply, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_bytes(struct reply *reply, const void *data, size_t len);
void reply_hex(struct reply *reply, const void *data, size_t len);

bool scan_char(const char **text, char c);
bool scan_number(const char **text, u64 *value);
bool scan_bytes(const char **text, void *data, size_t len);

#endif
