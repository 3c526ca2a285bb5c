
/*
 * Runs a target on files, without a fuzzer: for the inputs that are kept.
 * usage: TARGET FILE...
 */


#include "fuzz.h"


int
main(int argc, char **argv)
{
    int       i;
    long      size;
    FILE     *file;
    uint8_t  *data;

    for (i = 1; i < argc; i++) {
        file = fopen(argv[i], "rb");

        if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
            perror(argv[i]);
            return 2;
        }

        size = ftell(file);
        rewind(file);

        data = malloc(size ? size : 1);

        if (data == NULL || fread(data, 1, size, file) != (size_t) size) {
            perror(argv[i]);
            return 2;
        }

        fclose(file);

        /* the last line of a run that ends badly names its input */

        printf("%s\n", argv[i]);
        fflush(stdout);

        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }

    return 0;
}
