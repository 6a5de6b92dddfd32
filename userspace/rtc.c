// SPDX-License-Identifier: GPL-2.0
/*
 * The MC146818 real-time clock and its CMOS memory. It keeps UTC, in BCD and 24-hour mode, and sends no interrupts.
 *
 * What the guest sets is kept as an offset to the host's clock.
 */
#include "rtc.h"

#include <pthread.h>
#include <time.h>

#include "vm.h"

#define RTC_PORT 0x70

enum {
	RTC_SECONDS = 0x00,
	RTC_MINUTES = 0x02,
	RTC_HOURS = 0x04,
	RTC_WEEKDAY = 0x06,
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_A = 0x0a,
	RTC_B = 0x0b,
	RTC_C = 0x0c,
	RTC_D = 0x0d,
	CMOS_BASE_KIB = 0x15,
	CMOS_KIB_ABOVE_1M = 0x17,
	CMOS_KIB_ABOVE_1M_AGAIN = 0x30,
	CMOS_CENTURY = 0x32,
	CMOS_64KIB_ABOVE_16M = 0x34,
	CMOS_64KIB_ABOVE_4G = 0x5b,
};

#define RTC_A_UIP 0x80
#define RTC_A_32KHZ 0x26
#define RTC_B_SET 0x80
#define RTC_B_24H 0x02
#define RTC_D_VALID 0x80

/* The update-in-progress bit is seen this long before the update. Source: MC146818 data sheet, "Update Cycle". */
#define UIP_NS 244000

struct rtc {
	pthread_mutex_t lock;
	u8 index;
	u8 cmos[128];
	time_t offset; /* of the guest's clock to the host's, in seconds */
};

static u8 to_bcd(unsigned int n)
{
	return n / 10 % 10 << 4 | n % 10;
}

static int from_bcd(u8 bcd)
{
	return (bcd >> 4) * 10 + (bcd & 0xf);
}

static bool is_clock(u8 index)
{
	switch (index) {
	case RTC_SECONDS:
	case RTC_MINUTES:
	case RTC_HOURS:
	case RTC_WEEKDAY ... RTC_YEAR:
	case CMOS_CENTURY:
		return true;
	default:
		return false;
	}
}

/* Time stands still for the guest while it sets the clock. */
static void tick(struct rtc *rtc)
{
	time_t now = time(NULL) + rtc->offset;
	u8 *cmos = rtc->cmos;
	struct tm tm;

	if (cmos[RTC_B] & RTC_B_SET || !gmtime_r(&now, &tm))
		return;
	cmos[RTC_SECONDS] = to_bcd(tm.tm_sec);
	cmos[RTC_MINUTES] = to_bcd(tm.tm_min);
	cmos[RTC_HOURS] = to_bcd(tm.tm_hour);
	cmos[RTC_WEEKDAY] = to_bcd(tm.tm_wday + 1);
	cmos[RTC_DAY] = to_bcd(tm.tm_mday);
	cmos[RTC_MONTH] = to_bcd(tm.tm_mon + 1);
	cmos[RTC_YEAR] = to_bcd((tm.tm_year + 1900) % 100);
	cmos[CMOS_CENTURY] = to_bcd((tm.tm_year + 1900) / 100);
}

static void set_clock(struct rtc *rtc)
{
	const u8 *cmos = rtc->cmos;
	struct tm tm = {
		.tm_sec = from_bcd(cmos[RTC_SECONDS]),
		.tm_min = from_bcd(cmos[RTC_MINUTES]),
		.tm_hour = from_bcd(cmos[RTC_HOURS]),
		.tm_mday = from_bcd(cmos[RTC_DAY]),
		.tm_mon = from_bcd(cmos[RTC_MONTH]) - 1,
		.tm_year = from_bcd(cmos[CMOS_CENTURY]) * 100 + from_bcd(cmos[RTC_YEAR]) - 1900,
	};

	rtc->offset = timegm(&tm) - time(NULL);
}

static bool update_in_progress(const struct rtc *rtc)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return !(rtc->cmos[RTC_B] & RTC_B_SET) && now.tv_nsec >= 1000000000 - UIP_NS;
}

static u8 read_cmos(struct rtc *rtc, u8 index)
{
	if (is_clock(index))
		tick(rtc);
	if (index == RTC_A && update_in_progress(rtc))
		return rtc->cmos[RTC_A] | RTC_A_UIP;
	return rtc->cmos[index];
}

static void write_cmos(struct rtc *rtc, u8 index, u8 value)
{
	switch (index) {
	case RTC_A:
		rtc->cmos[RTC_A] = value & ~RTC_A_UIP;
		break;
	case RTC_B:
		tick(rtc);
		if (rtc->cmos[RTC_B] & ~value & RTC_B_SET)
			set_clock(rtc);
		rtc->cmos[RTC_B] = (value & RTC_B_SET) | RTC_B_24H;
		break;
	case RTC_C:
	case RTC_D:
		break;
	default:
		if (is_clock(index))
			tick(rtc);
		rtc->cmos[index] = value;
		if (is_clock(index) && !(rtc->cmos[RTC_B] & RTC_B_SET))
			set_clock(rtc);
	}
}

static u64 rtc_read(void *dev, u64 offset, unsigned int len)
{
	struct rtc *rtc = dev;
	u8 value = 0xff;

	if (offset == 0)
		return value;
	pthread_mutex_lock(&rtc->lock);
	value = read_cmos(rtc, rtc->index);
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void rtc_write(void *dev, u64 offset, unsigned int len, u64 value)
{
	struct rtc *rtc = dev;

	pthread_mutex_lock(&rtc->lock);
	/* Bit 7 of the index is a PC's NMI mask. */
	if (offset == 0)
		rtc->index = value & 0x7f;
	else
		write_cmos(rtc, rtc->index, value);
	pthread_mutex_unlock(&rtc->lock);
}

/* A count that may not fit its registers is given as the most they can say. */
static void put_count(u8 *cmos, unsigned int bytes, u64 count)
{
	count = min(count, (1ull << 8 * bytes) - 1);
	for (unsigned int i = 0; i < bytes; i++)
		cmos[i] = count >> 8 * i;
}

static u64 above(u64 end, u64 start)
{
	return end > start ? end - start : 0;
}

static void put_memory_size(u8 *cmos, const struct memory *memory)
{
	u64 low = memory->ranges[0].size;

	put_count(cmos + CMOS_BASE_KIB, 2, 640);
	put_count(cmos + CMOS_KIB_ABOVE_1M, 2, above(low, MIB) / 1024);
	put_count(cmos + CMOS_KIB_ABOVE_1M_AGAIN, 2, above(low, MIB) / 1024);
	put_count(cmos + CMOS_64KIB_ABOVE_16M, 2, above(low, 16 * MIB) / (64 * 1024));
	put_count(cmos + CMOS_64KIB_ABOVE_4G, 3, memory->ranges[1].size / (64 * 1024));
}

/**
 * rtc_init - put the real-time clock on the board
 * @vm: the machine
 */
void rtc_init(struct vm *vm)
{
	static struct rtc rtc = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cmos = { [RTC_A] = RTC_A_32KHZ, [RTC_B] = RTC_B_24H, [RTC_D] = RTC_D_VALID },
	};
	struct region region = {
		.base = RTC_PORT,
		.size = 2,
		.width = 1,
		.read = rtc_read,
		.write = rtc_write,
		.dev = &rtc,
	};

	put_memory_size(rtc.cmos, &vm->memory);
	bus_add(&vm->pio, &region);
}
