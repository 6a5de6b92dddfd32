// SPDX-License-Identifier: GPL-2.0
#include "packet.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define INTERRUPT 0x03
#define ESCAPE '}'
#define ESCAPE_XOR 0x20

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void begin(struct packet_reader *reader)
{
	reader->state = IN_DATA;
	reader->escaped = false;
	reader->sum = 0;
	reader->len = 0;
	reader->dropped = 0;
}

static enum packet_event between(struct packet_reader *reader, u8 byte)
{
	if (byte == '$')
		begin(reader);
	if (byte == INTERRUPT)
		return PACKET_INTERRUPT;
	return byte == '-' ? PACKET_RESEND : PACKET_NONE;
}

/* A packet that begins within another: the end of the first was lost. */
static void in_data(struct packet_reader *reader, u8 byte)
{
	if (byte == '$') {
		begin(reader);
		return;
	}
	if (byte == '#') {
		reader->state = IN_SUM;
		return;
	}
	reader->sum += byte;
	if (byte == ESCAPE && !reader->escaped) {
		reader->escaped = true;
		return;
	}
	if (reader->escaped)
		byte ^= ESCAPE_XOR;
	reader->escaped = false;
	if (reader->len < PACKET_MAX)
		reader->data[reader->len++] = byte;
	else
		reader->dropped++;
}

static enum packet_event end(struct packet_reader *reader)
{
	int high = digit(reader->said[0]), low = digit(reader->said[1]);

	reader->state = BETWEEN;
	reader->data[reader->len] = '\0';
	if (high < 0 || low < 0 || (high << 4 | low) != reader->sum)
		return PACKET_DAMAGED;
	return reader->dropped ? PACKET_TOO_LONG : PACKET_WHOLE;
}

/**
 * packet_take - take the next byte that gdb has sent
 * @reader: zero at first
 * @byte: any value
 *
 * Return: what that byte has completed. Acknowledgements need no answer and are nothing here.
 */
enum packet_event packet_take(struct packet_reader *reader, u8 byte)
{
	switch (reader->state) {
	case BETWEEN:
		return between(reader, byte);
	case IN_DATA:
		in_data(reader, byte);
		return PACKET_NONE;
	case IN_SUM:
		reader->said[0] = byte;
		reader->state = IN_SUM_LOW;
		return PACKET_NONE;
	default:
		reader->said[1] = byte;
		return end(reader);
	}
}

/**
 * packet_encode - put a reply into a packet
 * @reply: any bytes
 * @out: room for PACKET_ENCODED_MAX
 *
 * Return: the packet's size.
 */
size_t packet_encode(const struct reply *reply, u8 *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;
	u8 sum = 0;

	out[n++] = '$';
	for (size_t i = 0; i < reply->len; i++) {
		bool special = memchr("$#}*", reply->data[i], 4);

		if (special)
			sum += out[n++] = ESCAPE;
		sum += out[n++] = special ? reply->data[i] ^ ESCAPE_XOR : reply->data[i];
	}
	out[n++] = '#';
	out[n++] = digits[sum >> 4];
	out[n++] = digits[sum & 15];
	return n;
}

/**
 * reply_text - add text to a reply
 * @reply: what does not fit into it is cut off
 * @format: as of printf()
 */
void reply_text(struct reply *reply, const char *format, ...)
{
	char text[256];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reply_bytes(reply, text, min((size_t)len, sizeof(text) - 1));
}

/**
 * reply_bytes - add bytes to a reply as they are
 * @reply: what does not fit into it is cut off
 * @data: the bytes
 * @len: how many
 */
void reply_bytes(struct reply *reply, const void *data, size_t len)
{
	len = min(len, sizeof(reply->data) - reply->len);
	memcpy(reply->data + reply->len, data, len);
	reply->len += len;
}

/**
 * reply_hex - add bytes to a reply, two digits each
 * @reply: what does not fit into it is cut off
 * @data: the bytes
 * @len: how many
 */
void reply_hex(struct reply *reply, const void *data, size_t len)
{
	const u8 *bytes = data;

	for (size_t i = 0; i < len; i++)
		reply_text(reply, "%02x", bytes[i]);
}

/**
 * scan_char - read a character, if it is the one that is wanted
 * @text: moved behind it
 * @c: not NUL
 *
 * Return: whether it was there.
 */
bool scan_char(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

/**
 * scan_number - read a hexadecimal number, of 64 bits at most
 * @text: moved behind it
 * @value: set to it
 *
 * Return: whether there was one.
 */
bool scan_number(const char **text, u64 *value)
{
	unsigned int digits = 0;

	for (*value = 0; digit(**text) >= 0; digits++)
		*value = *value << 4 | digit(*(*text)++);
	return digits >= 1 && digits <= 16;
}

/**
 * scan_bytes - read bytes of two digits each
 * @text: moved behind them
 * @data: set to them
 * @len: how many there must be
 *
 * Return: whether they were there.
 */
bool scan_bytes(const char **text, void *data, size_t len)
{
	for (size_t i = 0; i < len; i++, *text += 2) {
		int high = digit((*text)[0]), low = high < 0 ? -1 : digit((*text)[1]);

		if (low < 0)
			return false;
		((u8 *)data)[i] = high << 4 | low;
	}
	return true;
}
