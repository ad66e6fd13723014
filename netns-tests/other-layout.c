/* usage: gcc -DPROGRAM='"PATH"' other-layout.c
 *
 * A worker's program to which its keeper seems to have maps of another layout (src/fastpath/abi.rs), as after an upgrade to
 * a version that has another one. It runs PROGRAM. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *given = getenv("TAPVS_WORKER");
	char *layout = given ? strstr(given, "\"layout\":") : NULL;
	if (layout)
		layout[strlen("\"layout\":")] = '9';
	(void)argc;
	execv(PROGRAM, argv);
	return 127;
}
