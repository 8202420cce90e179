// SPDX-License-Identifier: MIT
// ext4: blocks that were preallocated and never written show what the disk held before, where a truncate and fallocate(2) meet
// the writeback of the same range. See ext4-stale-blocks.md.
//
//     gcc -O2 -pthread -o ext4-stale-blocks ext4-stale-blocks.c     (add -static for a guest)
//     ./ext4-stale-blocks DIR [ROUNDS [SEED]]
//
// Makes one file in DIR and removes it. In each round a thread syncs (msync) what was written through a mapping; meanwhile the file
// is cut short inside of that, blocks are preallocated behind its new end (FALLOC_FL_KEEP_SIZE), and it is made as long as before
// (ftruncate). Behind the cut nothing was written since, so that only zeros are right there, before it only what was written.
// One thread alone changes and reads the file; msync(2) may not change what a file holds.
//
// Exit status: 0 never wrong, 1 wrong data, 2 wrong usage or a failed call.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 128
#define DELAY_US 100 // at most, between the beginning of the sync and the truncate

static const char *path;
static int file;
static long page;
static unsigned long long state;
static char *map;

static void die(const char *what)
{
	fprintf(stderr, "ext4-stale-blocks: %s: %s\n", what, strerror(errno));
	if (path)
		unlink(path);
	exit(2);
}

// xorshift64*, below `limit`.
static long below(long limit)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 2685821657736338717ull >> 33) % limit;
}

static void *sync_now(void *unused)
{
	(void)unused;
	return (void *)(long)(msync(map, PAGES * page, MS_SYNC) ? errno : 0);
}

// Writes, and cuts while that is synced. Returns where it was cut, in bytes.
static long cut(unsigned char byte)
{
	long bytes = PAGES * page, at = (1 + below(PAGES - 1)) * page;
	pthread_t thread;
	void *failed;

	if (ftruncate(file, bytes))
		die("ftruncate");
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (map == MAP_FAILED)
		die("mmap");
	memset(map, byte, bytes);
	if ((errno = pthread_create(&thread, NULL, sync_now, NULL)))
		die("pthread_create");
	usleep(below(DELAY_US));
	if (ftruncate(file, at) || fallocate(file, FALLOC_FL_KEEP_SIZE, at, bytes - at) || ftruncate(file, bytes))
		die("ftruncate or fallocate");
	pthread_join(thread, &failed);
	if ((errno = (long)failed))
		die("msync");
	munmap(map, bytes);
	return at;
}

// How many bytes of the file are wrong; `first` becomes the first of them.
static long wrong_bytes(long at, unsigned char byte, unsigned char *found, long *first)
{
	long wrong = 0;

	if (pread(file, found, PAGES * page, 0) != PAGES * page)
		die("pread");
	for (long i = PAGES * page - 1; i >= 0; i--) {
		if (found[i] == (i < at ? byte : 0))
			continue;
		wrong++;
		*first = i;
	}
	return wrong;
}

int main(int argc, char **argv)
{
	static char name[4096];
	long rounds = argc > 2 ? atol(argv[2]) : 1000, bad = 0, lasting = 0, first;

	state = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	if (argc < 2 || argc > 4 || rounds < 1 || state == 0) {
		fprintf(stderr, "usage: %s DIR [ROUNDS [SEED]]\n", argv[0]);
		return 2;
	}
	page = sysconf(_SC_PAGESIZE);
	unsigned char *found = malloc(PAGES * page);
	snprintf(name, sizeof(name), "%s/ext4-stale-blocks.file", argv[1]);
	file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (file < 0 || !found)
		die(name);
	path = name;
	for (long round = 0; round < rounds; round++) {
		unsigned char byte = 1 + round % 255;
		long at = cut(byte), wrong = wrong_bytes(at, byte, found, &first);

		if (wrong) {
			if (!bad++)
				printf("round %ld: written with 0x%02x, cut at 0x%lx: %ld bytes are wrong, the first at 0x%lx is 0x%02x\n",
				       round, byte, at, wrong, first, found[first]);
			if (fsync(file))
				die("fsync");
			posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
			lasting += wrong_bytes(at, byte, found, &first) != 0;
		}
		if (ftruncate(file, 0)) // its blocks, with this round's byte, are for the next rounds to come upon
			die("ftruncate");
	}
	unlink(path);
	printf("%ld of %ld rounds ended with wrong data, %ld on the disk too\n", bad, rounds, lasting);
	return bad ? 1 : 0;
}
