// SPDX-License-Identifier: MIT
// ext4: old disk content comes up in ranges that were never written since they were allocated or punched, where the conversion of
// unwritten extents at the end of a writeback meets fallocate(2). See ext4-unwritten-punch.md.
//
//     gcc -O2 -o ext4-unwritten-punch ext4-unwritten-punch.c     (add -static for a guest)
//     ./ext4-unwritten-punch DIR [ROUNDS [SEED]]
//
// Makes one file in DIR and removes it. Each round does a few random operations on it: writes through a mapping, which a thread
// syncs beside what follows, truncate, fallocate (preallocate, punch, zero, collapse); the same is done to a copy in memory. In the
// end the file is read and compared. One thread alone changes and reads the file; the others only call msync(2), which
// may not change what a file holds.
//
// Exit status: 0 never different, 1 different, 2 wrong usage or a failed call.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE_MAX_BYTES (128 * 4096l)
#define THREADS 4
#define OPERATIONS 40

struct sync {
	char *map;
	size_t bytes;
	pthread_t thread;
};

static const char *path;
static int file;
static char model[SIZE_MAX_BYTES], found[SIZE_MAX_BYTES];
static long size; // of the file, in bytes
static struct sync syncs[THREADS];
static char journal[OPERATIONS][80]; // of the round
static unsigned long long state;

static void die(const char *what)
{
	fprintf(stderr, "ext4-unwritten-punch: %s: %s\n", what, strerror(errno));
	if (path)
		unlink(path);
	exit(2);
}

// xorshift64*; below `limit`.
static long below(long limit)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 2685821657736338717ull >> 33) % limit;
}

static void *sync_now(void *argument)
{
	struct sync *sync = argument;
	long failed = msync(sync->map, sync->bytes, MS_SYNC) ? errno : 0;

	munmap(sync->map, sync->bytes);
	return (void *)failed;
}

static void wait_for(struct sync *sync)
{
	void *failed;

	if (!sync->map)
		return;
	pthread_join(sync->thread, &failed);
	sync->map = NULL;
	if ((errno = (long)failed))
		die("msync");
}

static void resize(long to)
{
	if (ftruncate(file, to))
		die("ftruncate");
	if (to > size)
		memset(model + size, 0, to - size);
	size = to;
}

// Writes [from, from + bytes) through a mapping and has it synced by a thread.
static void map_write(long from, long bytes, int round)
{
	static int next;
	struct sync *sync = &syncs[next++ % THREADS];

	wait_for(sync);
	if (from + bytes > size)
		resize(from + bytes);
	memset(model + from, 1 + round % 255, bytes);
	sync->bytes = bytes;
	sync->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, from);
	if (sync->map == MAP_FAILED)
		die("mmap");
	memcpy(sync->map, model + from, bytes);
	if ((errno = pthread_create(&sync->thread, NULL, sync_now, sync)))
		die("pthread_create");
}

static void allocate(int mode, long from, long bytes)
{
	if (fallocate(file, mode, from, bytes))
		die("fallocate");
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		long end = from + bytes < size ? from + bytes : size;
		if (from < end)
			memset(model + from, 0, end - from);
	}
	if (mode == FALLOC_FL_COLLAPSE_RANGE) {
		memmove(model + from, model + from + bytes, size - from - bytes);
		size -= bytes;
	}
}

static void operate(int number, int round, long unit)
{
	static const char *names[] = { "mapwrite", "truncate", "preallocate", "punch", "zero", "collapse" };
	int kind = below(6);
	long limit = SIZE_MAX_BYTES / unit, from = below(limit) * unit, bytes = (1 + below(limit - from / unit)) * unit;

	if (kind == 5 && from + bytes >= size)
		kind = 1;
	snprintf(journal[number], sizeof(journal[number]), "%s 0x%lx 0x%lx", names[kind], from, bytes);
	switch (kind) {
	case 0:
		map_write(from, bytes, round);
		break;
	case 1:
		resize(from);
		break;
	case 2:
		allocate(FALLOC_FL_KEEP_SIZE, from, bytes);
		break;
	case 3:
		allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, bytes);
		break;
	case 4:
		allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, from, bytes);
		break;
	case 5:
		allocate(FALLOC_FL_COLLAPSE_RANGE, from, bytes);
	}
}

// Compares the file with the model; tells the first difference.
static int different(int round, int operations, int told)
{
	long at = 0, end;

	if (pread(file, found, size, 0) != size)
		die("pread");
	if (memcmp(found, model, size) == 0)
		return 0;
	if (told)
		return 1;
	while (found[at] == model[at])
		at++;
	for (end = at; end < size && found[end] != model[end]; end++)
		;
	printf("round %d: 0x%lx to 0x%lx is wrong: byte 0x%02x (of round %d), right is 0x%02x; the operations were\n", round, at, end,
	       found[at] & 255, found[at] ? (round / 255 * 255) + (found[at] & 255) - 1 : 0, model[at] & 255);
	for (int i = 0; i < operations; i++)
		printf("  %s\n", journal[i]);
	return 1;
}

int main(int argc, char **argv)
{
	static char name[4096];
	int rounds = argc > 2 ? atoi(argv[2]) : 1000, wrong = 0;
	long unit = sysconf(_SC_PAGESIZE);

	state = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	if (argc < 2 || argc > 4 || rounds < 1 || state == 0) {
		fprintf(stderr, "usage: %s DIR [ROUNDS [SEED]]\n", argv[0]);
		return 2;
	}
	snprintf(name, sizeof(name), "%s/ext4-unwritten-punch.file", argv[1]);
	file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (file < 0)
		die(name);
	path = name;
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < OPERATIONS; i++)
			operate(i, round, unit);
		for (int i = 0; i < THREADS; i++)
			wait_for(&syncs[i]);
		wrong += different(round, OPERATIONS, wrong);
		resize(0);
	}
	unlink(path);
	printf("%d of %d rounds ended with wrong data\n", wrong, rounds);
	return wrong ? 1 : 0;
}
