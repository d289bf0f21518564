// SPDX-License-Identifier: GPL-2.0
/*
 * Attaches the programs of exits.bpf.o, given as the one argument, says "ready",
 * and at the end of its input prints what they counted: REASON COUNT NS lines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <bpf/libbpf.h>

struct exits {
	__u64 count;
	__u64 ns;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	struct bpf_object *object = bpf_object__open(argc == 2 ? argv[1] : "");
	struct bpf_program *program;
	struct bpf_map *map;
	struct exits *values;
	int cpus = libbpf_num_possible_cpus();

	if (!object || bpf_object__load(object))
		fail("loading");
	bpf_object__for_each_program(program, object)
		if (!bpf_program__attach(program))
			fail("attaching");
	map = bpf_object__find_map_by_name(object, "exits");
	values = calloc(cpus, sizeof(*values));
	if (!map || !values)
		fail("the map");
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;

	for (__u32 reason = 0; reason < bpf_map__max_entries(map); reason++) {
		struct exits sum = {};

		if (bpf_map__lookup_elem(map, &reason, sizeof(reason), values,
					 cpus * sizeof(*values), 0))
			fail("reading");
		for (int cpu = 0; cpu < cpus; cpu++) {
			sum.count += values[cpu].count;
			sum.ns += values[cpu].ns;
		}
		if (sum.count)
			printf("%u %llu %llu\n", reason, sum.count, sum.ns);
	}
	return 0;
}
