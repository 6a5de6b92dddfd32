/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_EXTENSION_H
#define PITH_EXTENSION_H

/** extension_value - KVM_CHECK_EXTENSION: 0 for what is not there; else 1, or how much of it there is */
int extension_value(unsigned long extension);

#endif
