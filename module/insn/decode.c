// SPDX-License-Identifier: GPL-2.0
/*
 * The decoder: prefixes, opcode, ModRM and SIB, displacement, immediate, in the order in which they stand.
 * Source: SDM volume 2, "Instruction Format"; "VEX" and "EVEX" there; APM volume 3, "XOP".
 */
#include "attributes.h"
#include "insn.h"

/*
 * How far the decoder got. insn_decode() stands on the path of every MMIO exit: what is common in it is inlined, so
 * that this lives in registers; what is rare gets and returns it by value, so that it can.
 */
struct decoder {
	struct insn *insn;
	const u8 *next; /* NULL: the bytes were used up before the instruction was */
	const u8 *end;
	enum insn_mode mode;
	unsigned int attr;
};

static __always_inline bool take_byte(struct decoder *d, u8 *byte)
{
	if (unlikely(d->next == d->end))
		return false;
	*byte = *d->next++;
	return true;
}

/*
 * Takes a little-endian number of 0, 1, 2, 4 or 8 bytes and sign-extends it.
 * Return: the position behind it, or NULL if it is not all there.
 */
static __always_inline const u8 *take(const u8 *next, const u8 *end, unsigned int size, s64 *value)
{
	s32 dword;
	s16 word;

	if (unlikely(end - next < size))
		return NULL;
	switch (size) {
	case 0:
		*value = 0;
		break;
	case 1:
		*value = (s8)*next;
		break;
	case 2:
		memcpy(&word, next, sizeof(word));
		*value = word;
		break;
	case 4:
		memcpy(&dword, next, sizeof(dword));
		*value = dword;
		break;
	default:
		memcpy(value, next, sizeof(*value));
	}
	return next + size;
}

static void legacy_prefix(struct insn *insn, enum insn_special special, u8 byte, enum insn_mode mode)
{
	switch (special) {
	case SPECIAL_OPERAND_SIZE:
		insn->prefixes |= INSN_PREFIX_OPERAND_SIZE;
		break;
	case SPECIAL_ADDRESS_SIZE:
		insn->prefixes |= INSN_PREFIX_ADDRESS_SIZE;
		insn->address_size = mode == INSN_MODE_32 ? 2 : 4;
		break;
	case SPECIAL_LOCK:
		insn->prefixes |= INSN_PREFIX_LOCK;
		break;
	case SPECIAL_REP:
		insn->prefixes = (insn->prefixes & ~INSN_PREFIX_REPNE) | INSN_PREFIX_REP;
		break;
	case SPECIAL_REPNE:
		insn->prefixes = (insn->prefixes & ~INSN_PREFIX_REP) | INSN_PREFIX_REPNE;
		break;
	default:
		/* 26, 2E, 36, 3E for the segments 0 to 3, which 64-bit mode ignores; 64, 65 for FS, GS. */
		if (byte < 0x40 && mode == INSN_MODE_64)
			break;
		insn->prefixes |= INSN_PREFIX_SEGMENT;
		insn->segment = byte < 0x40 ? (byte >> 3) & 3 : byte & 7;
		break;
	}
}

/* Goes over the prefixes to the first byte of the opcode. A REX byte counts only right before it. */
static __always_inline bool decode_prefixes(struct decoder *d)
{
	unsigned int special;
	u8 byte, rex = 0;

	for (;;) {
		if (!take_byte(d, &byte))
			return false;
		d->attr = insn_attributes_one_byte[byte];
		special = d->attr & SPECIAL_MASK;
		if (likely(!special) || special >= SPECIAL_ESCAPE)
			break;
		if (special == SPECIAL_REX) {
			d->attr = SIZE_V; /* INC or DEC */
			if (d->mode != INSN_MODE_64)
				break;
			rex = byte;
			continue;
		}
		legacy_prefix(d->insn, special, byte, d->mode);
		rex = 0;
	}
	d->insn->rex = rex;
	d->insn->opcode = byte;
	return true;
}

/* All opcodes of the map 0F38 are alike to the decoder, as are those of 0F3A. */
static __always_inline bool escape_0f(struct decoder *d)
{
	struct insn *insn = d->insn;

	if (!take_byte(d, &insn->opcode))
		return false;
	insn->map = INSN_MAP_0F;
	d->attr = insn_attributes_0f[insn->opcode];
	if (likely((insn->opcode & 0xfd) != 0x38))
		return true;
	insn->map = insn->opcode == 0x38 ? INSN_MAP_0F38 : INSN_MAP_0F3A;
	d->attr = insn->opcode == 0x38 ? ATTR_MODRM : ATTR_MODRM | IMM_8;
	return take_byte(d, &insn->opcode);
}

static u16 vector_attributes(const struct insn *insn)
{
	switch (insn->map) {
	case INSN_MAP_0F:
		if (insn->opcode == 0x77) /* VZEROUPPER, VZEROALL */
			return 0;
		/* Shuffles, shifts by a constant, compares, inserts and extracts: those of the legacy map. */
		if ((insn->opcode & 0xfc) == 0x70 || (insn->opcode >= 0xc2 && insn->opcode <= 0xc6))
			return insn_attributes_0f[insn->opcode];
		return ATTR_MODRM;
	case INSN_MAP_0F38:
	case INSN_MAP_EVEX5:
	case INSN_MAP_EVEX6:
	case INSN_MAP_XOP9:
		return ATTR_MODRM;
	case INSN_MAP_0F3A:
	case INSN_MAP_XOP8:
		return ATTR_MODRM | IMM_8;
	case INSN_MAP_XOPA:
		return ATTR_MODRM | IMM_32;
	default:
		return ATTR_INVALID;
	}
}

/* VEX, EVEX and XOP: an escape byte, one to three bytes of payload, and the opcode. */
static struct decoder escape_vector(struct decoder d, enum insn_encoding encoding, unsigned int payload)
{
	static const u8 forbidden = INSN_PREFIX_OPERAND_SIZE | INSN_PREFIX_LOCK | INSN_PREFIX_REP | INSN_PREFIX_REPNE;
	struct insn *insn = d.insn;
	u8 extend, wide = 0;

	d.attr = ATTR_INVALID;
	if (insn->rex || insn->prefixes & forbidden)
		return d;
	if (d.end - d.next <= payload) {
		d.next = NULL;
		return d;
	}
	extend = d.next[0];
	insn->encoding = encoding;
	insn->map = INSN_MAP_0F;
	if (payload > 1) {
		insn->map = extend & (encoding == INSN_EVEX ? 0xf : 0x1f);
		wide = d.next[1];
	} else {
		extend |= (INSN_REX_X | INSN_REX_B) << 5; /* the two-byte VEX has R alone */
	}
	/* R, X and B are the inverted bits 7 to 5. Outside of 64-bit mode there is nothing to extend. */
	if (d.mode == INSN_MODE_64)
		insn->rex = 0x40 | ((~extend >> 5) & 7) | (wide & 0x80 ? INSN_REX_W : 0);
	insn->opcode = d.next[payload];
	d.next += payload + 1;
	d.attr = vector_attributes(insn);
	return d;
}

/*
 * The byte after 62, C4 and C5 tells EVEX and VEX from BOUND, LES and LDS, whose operand must be in memory; these do
 * not exist in 64-bit mode. That after 8F tells XOP from POP: as ModRM it has 0 for reg, as XOP a map from 8 on.
 */
static struct decoder escape_or_not(struct decoder d, enum insn_special special)
{
	d.attr &= ~SPECIAL_MASK;
	if (d.next == d.end)
		return d; /* for want of a ModRM */
	if (special == SPECIAL_XOP)
		return (*d.next & 0x1f) >= INSN_MAP_XOP8 ? escape_vector(d, INSN_XOP, 2) : d;
	if (d.mode != INSN_MODE_64 && *d.next < 0xc0)
		return d;
	if (special == SPECIAL_EVEX)
		return escape_vector(d, INSN_EVEX, 3);
	return escape_vector(d, INSN_VEX, special == SPECIAL_VEX3 ? 2 : 1);
}

static __always_inline bool decode_escape(struct decoder *d)
{
	if (likely((d->attr & SPECIAL_MASK) == SPECIAL_ESCAPE))
		return escape_0f(d);
	*d = escape_or_not(*d, d->attr & SPECIAL_MASK);
	return d->next;
}

/* Source: SDM volume 2, table "16-Bit Addressing Forms with the ModR/M Byte". */
static const u8 *decode_address16(struct insn *insn, const u8 *next, const u8 *end)
{
	static const u8 bases[] = { REG_RBX, REG_RBX, REG_RBP, REG_RBP, REG_RSI, REG_RDI, REG_RBP, REG_RBX };
	static const u8 displacement_sizes[] = { 0, 1, 2 };
	unsigned int size = displacement_sizes[insn->mod];

	insn->base = bases[insn->rm];
	if (insn->rm < 4)
		insn->index = REG_RSI + (insn->rm & 1);
	if (insn->mod == 0 && insn->rm == 6) {
		insn->base = INSN_REG_NONE;
		size = 2;
	}
	if (insn->base == REG_RBP && !(insn->prefixes & INSN_PREFIX_SEGMENT))
		insn->segment = SEG_SS;
	return take(next, end, size, &insn->disp);
}

static __always_inline bool decode_sib(struct decoder *d, u8 rex, u8 *base)
{
	u8 sib, index;

	if (!take_byte(d, &sib))
		return false;
	*base = sib & 7;
	index = ((sib >> 3) & 7) | (rex & INSN_REX_X) << 2;
	d->insn->index = index == REG_RSP ? INSN_REG_NONE : index;
	d->insn->scale = sib >> 6;
	return true;
}

/* Source: SDM volume 2, tables "32-Bit Addressing Forms with the ModR/M Byte" and "... with the SIB Byte". */
static __always_inline bool decode_address(struct decoder *d, u8 modrm, u8 rex)
{
	struct insn *insn = d->insn;
	u8 base = modrm & 7;

	if (base == REG_RSP && !decode_sib(d, rex, &base))
		return false;
	if (base == REG_RBP && modrm < 0x40) {
		/* No base at all; in 64-bit mode this encoding without SIB means RIP. */
		insn->base = (modrm & 7) == REG_RBP && d->mode == INSN_MODE_64 ? INSN_REG_RIP : INSN_REG_NONE;
		d->next = take(d->next, d->end, 4, &insn->disp);
		return d->next;
	}
	base |= (rex & INSN_REX_B) << 3;
	insn->base = base;
	if ((base == REG_RSP || base == REG_RBP) && !(insn->prefixes & INSN_PREFIX_SEGMENT))
		insn->segment = SEG_SS;
	insn->disp = 0;
	if (modrm >= 0x40)
		d->next = take(d->next, d->end, modrm < 0x80 ? 1 : 4, &insn->disp);
	return d->next;
}

static __always_inline bool decode_modrm(struct decoder *d)
{
	struct insn *insn = d->insn;
	u8 modrm, rex = insn->rex;

	if (!take_byte(d, &modrm))
		return false;
	insn->modrm = modrm;
	insn->mod = modrm >> 6;
	insn->reg = ((modrm >> 3) & 7) | (rex & INSN_REX_R) << 1;
	insn->rm = (modrm & 7) | (rex & INSN_REX_B) << 3;
	insn->memory = modrm < 0xc0;
	if (modrm >= 0xc0)
		return true;
	if (unlikely(d->attr & ATTR_REGISTERS)) {
		insn->mod = 3;
		insn->memory = false;
		return true;
	}
	if (likely(insn->address_size != 2))
		return decode_address(d, modrm, rex);
	d->next = decode_address16(insn, d->next, d->end);
	return d->next;
}

static __always_inline void decode_no_modrm(struct decoder *d)
{
	struct insn *insn = d->insn;

	insn->modrm = 0;
	insn->mod = 0;
	insn->reg = 0;
	insn->rm = (insn->opcode & 7) | (insn->rex & INSN_REX_B) << 3;
	insn->memory = false;
}

static __always_inline u8 operand_size(const struct decoder *d)
{
	static const u8 sizes[][16] = {
		/* The columns: without and with 66, then the same with REX.W; in each the modes 16, 32, 64. */
		[SIZE_V >> 4] = { 2, 4, 4, 0, 4, 2, 2, 0, 0, 0, 8, 0, 0, 0, 8, 0 },
		[SIZE_BYTE >> 4] = { 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0 },
		[SIZE_STACK >> 4] = { 2, 4, 8, 0, 4, 2, 2, 0, 0, 0, 8, 0, 0, 0, 8, 0 },
		[SIZE_64 >> 4] = { 2, 4, 8, 0, 4, 2, 8, 0, 0, 0, 8, 0, 0, 0, 8, 0 },
		[SIZE_NATIVE >> 4] = { 4, 4, 8, 0, 4, 4, 8, 0, 0, 0, 8, 0, 0, 0, 8, 0 },
	};
	static const u8 group5[] = { SIZE_V, SIZE_V, SIZE_64, SIZE_V, SIZE_64, SIZE_V, SIZE_STACK, SIZE_V };
	unsigned int size = d->attr & SIZE_MASK;
	unsigned int column =
		d->mode | (d->insn->prefixes & INSN_PREFIX_OPERAND_SIZE) >> 1 | (d->insn->rex & INSN_REX_W);

	if (unlikely(size == SIZE_GROUP5))
		size = group5[d->insn->reg & 7];
	return (&sizes[0][0])[size | column]; /* a row is 16 bytes, and SIZE_* are multiples of it */
}

/* MOV's moffs: an address without registers. */
static const u8 *decode_offset(struct insn *insn, const u8 *next, const u8 *end)
{
	insn->memory = true;
	insn->base = INSN_REG_NONE;
	return take(next, end, insn->address_size, &insn->disp);
}

static const u8 *take_two(struct insn *insn, const u8 *next, const u8 *end, unsigned int size, unsigned int size2)
{
	s64 second = 0;

	next = take(next, end, size, &insn->imm);
	if (next)
		next = take(next, end, size2, &second);
	insn->imm2 = second;
	return next;
}

static const u8 *decode_immediate(struct insn *insn, const u8 *next, const u8 *end, enum insn_immediate kind)
{
	unsigned int size = min_t(unsigned int, insn->operand_size, 4);

	switch (kind) {
	case IMM_8:
		size = 1;
		break;
	case IMM_16:
		size = 2;
		break;
	case IMM_32:
		size = 4;
		break;
	case IMM_V:
		size = insn->operand_size;
		break;
	case IMM_GROUP3:
		if (insn->reg & 6)
			return next;
		break;
	case IMM_OFFSET:
		return decode_offset(insn, next, end);
	case IMM_FAR:
		return take_two(insn, next, end, size, 2);
	case IMM_ENTER:
		return take_two(insn, next, end, 2, 1);
	case IMM_EXTRQ:
		if (!(insn->prefixes & (INSN_PREFIX_OPERAND_SIZE | INSN_PREFIX_REPNE)))
			return next;
		return take_two(insn, next, end, 1, 1);
	default: /* IMM_Z */
		break;
	}
	return take(next, end, size, &insn->imm);
}

/* Everything that the rest of the decoder does not set in all cases. */
static __always_inline size_t begin(struct insn *insn, const u8 *bytes, size_t len, enum insn_mode mode)
{
	/* Two moves in the common case, where the length is a constant. */
	if (likely(len >= INSN_MAX_LENGTH)) {
		len = INSN_MAX_LENGTH;
		memcpy(insn->bytes, bytes, INSN_MAX_LENGTH);
	} else {
		memcpy(insn->bytes, bytes, len);
	}
	insn->imm = 0;
	insn->imm2 = 0;
	insn->encoding = INSN_LEGACY;
	insn->map = INSN_MAP_ONE_BYTE;
	insn->prefixes = 0;
	insn->segment = SEG_DS;
	insn->index = INSN_REG_NONE;
	insn->scale = 0;
	insn->address_size = 2 << mode;
	return len;
}

int insn_decode(struct insn *insn, const u8 *bytes, size_t len, enum insn_mode mode)
{
	struct decoder d = { .insn = insn, .mode = mode };

	len = begin(insn, bytes, len, mode);
	d.next = insn->bytes;
	d.end = insn->bytes + len;
	if (!decode_prefixes(&d))
		goto out_of_bytes;
	if (d.attr & SPECIAL_MASK && !decode_escape(&d))
		goto out_of_bytes;
	if (unlikely(d.attr & (ATTR_INVALID | ATTR_INVALID_64)) && (d.attr & ATTR_INVALID || mode == INSN_MODE_64))
		return -EINVAL;
	if (!(d.attr & ATTR_MODRM))
		decode_no_modrm(&d);
	else if (!decode_modrm(&d))
		goto out_of_bytes;
	insn->operand_size = operand_size(&d);
	if (d.attr & IMM_MASK) {
		d.next = decode_immediate(insn, d.next, d.end, d.attr & IMM_MASK);
		if (unlikely(!d.next))
			goto out_of_bytes;
	}
	insn->length = d.next - insn->bytes;
	return 0;

out_of_bytes:
	/* Either the instruction goes on, or it is longer than an instruction may be. */
	return len < INSN_MAX_LENGTH ? -EAGAIN : -E2BIG;
}

bool insn_string_io(const struct insn *insn, struct insn_string_io *io)
{
	if (insn->map != INSN_MAP_ONE_BYTE || (insn->opcode & 0xfc) != 0x6c)
		return false;
	io->in = !(insn->opcode & 2);
	io->rep = insn->prefixes & (INSN_PREFIX_REP | INSN_PREFIX_REPNE);
	io->segment = io->in ? SEG_ES : insn->segment;
	/* There is no 64-bit port access: REX.W is ignored. */
	io->operand_size = min_t(u8, insn->operand_size, 4);
	io->address_size = insn->address_size;
	return true;
}
