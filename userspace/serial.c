// SPDX-License-Identifier: GPL-2.0
/*
 * COM1: a 16550A whose far end is standard input and output.
 *
 * Output is held back only while the guest is busy writing. It leaves at the end of a line, when the buffer is full,
 * and when the guest touches any register but the transmitter's, except that it may look once at the line status, which
 * drivers do between two bytes. So a whole line costs one write, and a prompt without an end of line is not kept.
 */
#include "serial.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "irq.h"
#include "vm.h"

#define COM1_BASE 0x3f8
#define COM1_SIZE 8

static bool fifo_enabled(const struct serial *serial)
{
	return serial->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned int rx_room(const struct serial *serial)
{
	return (fifo_enabled(serial) ? sizeof(serial->rx) : 1) - serial->rx_len;
}

/* The interrupt of highest priority that is enabled and pending, as IIR names it. */
static u8 pending(const struct serial *serial)
{
	if ((serial->ier & UART_IER_RDI) && serial->rx_len)
		return UART_IIR_RDI;
	if ((serial->ier & UART_IER_THRI) && serial->thre)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

/* On a PC, OUT2 connects the interrupt pin to the interrupt controller. */
static void update_line(struct serial *serial)
{
	bool line = pending(serial) != UART_IIR_NO_INT && (serial->mcr & UART_MCR_OUT2);

	if (line != serial->line)
		irq_set_line(serial->vm, IRQ_COM1, line);
	serial->line = line;
}

/*
 * Writes all there is, however slow the reader: the guest waits. Only the end of the machine interrupts that, what is
 * left is written by the last flush. If nobody is there to read any more, the output is lost, as on an unplugged line.
 */
static void flush(struct serial *serial)
{
	unsigned int done = 0;

	while (done < serial->tx_len) {
		ssize_t n = write(STDOUT_FILENO, serial->tx + done, serial->tx_len - done);

		if (n >= 0)
			done += n;
		else if (errno == EAGAIN)
			poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1);
		else if (errno != EINTR)
			done = serial->tx_len;
		if (n < 0 && !vm_running(serial->vm))
			break;
	}
	serial->tx_len -= done;
	memmove(serial->tx, serial->tx + done, serial->tx_len);
}

static void transmit(struct serial *serial, u8 byte)
{
	serial->thre = true;
	if (serial->mcr & UART_MCR_LOOP) {
		if (rx_room(serial))
			serial->rx[serial->rx_len++] = byte;
		return;
	}
	if (serial->tx_len == sizeof(serial->tx))
		flush(serial);
	if (serial->tx_len < sizeof(serial->tx))
		serial->tx[serial->tx_len++] = byte;
	if (byte == '\n')
		flush(serial);
	serial->tx_just_written = true;
}

static u8 receive(struct serial *serial)
{
	u8 byte = serial->rx[0];

	if (!serial->rx_len)
		return 0;
	serial->rx_len--;
	memmove(serial->rx, serial->rx + 1, serial->rx_len);
	return byte;
}

static u8 modem_status(const struct serial *serial)
{
	u8 mcr = serial->mcr;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	return (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static u8 interrupt_identification(struct serial *serial)
{
	u8 iir = pending(serial);

	if (iir == UART_IIR_THRI)
		serial->thre = false;
	return iir | (fifo_enabled(serial) ? 0xc0 : 0);
}

/* RTS tells the far end that it may send. It keeps what was typed before the guest's driver was ready. */
static bool may_receive(const struct serial *serial)
{
	return (serial->mcr & (UART_MCR_RTS | UART_MCR_LOOP)) == UART_MCR_RTS && rx_room(serial);
}

static void invite(struct serial *serial)
{
	if (serial->rx_refused && may_receive(serial)) {
		serial->rx_refused = false;
		vm_wake(serial->vm);
	}
}

static u8 read_register(struct serial *serial, u64 reg)
{
	bool dlab = serial->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_RX:
		return dlab ? serial->divisor[0] : receive(serial);
	case UART_IER:
		return dlab ? serial->divisor[1] : serial->ier;
	case UART_IIR:
		return interrupt_identification(serial);
	case UART_LCR:
		return serial->lcr;
	case UART_MCR:
		return serial->mcr;
	case UART_LSR:
		return UART_LSR_TEMT | UART_LSR_THRE | (serial->rx_len ? UART_LSR_DR : 0);
	case UART_MSR:
		return modem_status(serial);
	default:
		return serial->scr;
	}
}

static void write_register(struct serial *serial, u64 reg, u8 value)
{
	bool dlab = serial->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_TX:
		if (dlab)
			serial->divisor[0] = value;
		else
			transmit(serial, value);
		break;
	case UART_IER:
		if (dlab) {
			serial->divisor[1] = value;
			break;
		}
		/* The transmitter is always empty: enabling its interrupt raises it. */
		if (value & ~serial->ier & UART_IER_THRI)
			serial->thre = true;
		serial->ier = value & 0x0f;
		break;
	case UART_FCR:
		if (value & UART_FCR_CLEAR_RCVR || (value ^ serial->fcr) & UART_FCR_ENABLE_FIFO)
			serial->rx_len = 0;
		serial->fcr = value;
		break;
	case UART_LCR:
		serial->lcr = value;
		break;
	case UART_MCR:
		serial->mcr = value & 0x1f;
		break;
	case UART_SCR:
		serial->scr = value;
		break;
	}
}

/* The guest has turned to something else than writing: what it wrote is due. */
static void turn(struct serial *serial, bool transmitter, bool line_status)
{
	if (!transmitter && !(line_status && serial->tx_just_written))
		flush(serial);
	serial->tx_just_written = false;
}

static u64 serial_read(void *dev, u64 offset, unsigned int len)
{
	struct serial *serial = dev;
	u8 value;

	pthread_mutex_lock(&serial->lock);
	turn(serial, false, offset == UART_LSR);
	value = read_register(serial, offset);
	update_line(serial);
	invite(serial);
	pthread_mutex_unlock(&serial->lock);
	return value;
}

static void serial_write(void *dev, u64 offset, unsigned int len, u64 value)
{
	struct serial *serial = dev;

	pthread_mutex_lock(&serial->lock);
	turn(serial, offset == UART_TX, false);
	write_register(serial, offset, value);
	update_line(serial);
	invite(serial);
	pthread_mutex_unlock(&serial->lock);
}

/**
 * serial_init - put COM1 on the board
 * @serial: filled in
 * @vm: the machine
 */
void serial_init(struct serial *serial, struct vm *vm)
{
	struct region region = {
		.base = COM1_BASE,
		.size = COM1_SIZE,
		.width = 1,
		.read = serial_read,
		.write = serial_write,
		.dev = serial,
	};

	*serial = (struct serial){ .vm = vm };
	pthread_mutex_init(&serial->lock, NULL);
	bus_add(&vm->pio, &region);
}

/**
 * serial_receive - let the guest receive what came from outside
 * @serial: the port
 * @data: the bytes
 * @len: how many
 *
 * Return: how many of them were taken. If not all, vm_wake() is called when it is worth to try again.
 */
size_t serial_receive(struct serial *serial, const u8 *data, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&serial->lock);
	while (n < len && may_receive(serial))
		serial->rx[serial->rx_len++] = data[n++];
	serial->rx_refused = n < len;
	update_line(serial);
	pthread_mutex_unlock(&serial->lock);
	return n;
}

/**
 * serial_flush - write what the guest has sent and nobody has seen yet
 * @serial: the port
 */
void serial_flush(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	flush(serial);
	pthread_mutex_unlock(&serial->lock);
}
