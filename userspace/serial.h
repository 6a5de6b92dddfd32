/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_SERIAL_H
#define PITH_SERIAL_H

#include <pthread.h>

#include "util.h"

struct vm;

struct serial {
	struct vm *vm;
	pthread_mutex_t lock;
	u8 ier, fcr, lcr, mcr, scr;
	u8 divisor[2];
	bool thre; /* the transmitter-empty interrupt is pending */
	bool line; /* what the interrupt line was last set to */
	u8 rx[16];
	unsigned int rx_len;
	bool rx_refused; /* somebody waits for room */
	u8 tx[1024];
	unsigned int tx_len;
	bool tx_just_written; /* the last access was to the transmitter */
};

void serial_init(struct serial *serial, struct vm *vm);
size_t serial_receive(struct serial *serial, const u8 *data, size_t len);
void serial_flush(struct serial *serial);

#endif
