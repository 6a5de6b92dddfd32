/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_RTC_H
#define PITH_RTC_H

struct vm;

void rtc_init(struct vm *vm);

#endif
