/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_STAT_H
#define PITH_STAT_H

int stat_main(int argc, char **argv);

#endif
