package kernelpath

// "make generate" installs what this needs. The sum tells a test that the object is that of the source.
//go:generate go tool bpf2go -cc clang-16 -cflags "-O2 -mcpu=v3 -Wall -Werror" -target bpfel -tags linux -output-stem object object path.c
//go:generate go tool bpf2go -cc clang-16 -cflags "-O2 -mcpu=v3 -Wall -Werror" -target bpfel -tags linux -output-stem server server server.c
//go:generate sh -c "sha256sum path.c >path.c.sum && sha256sum server.c >server.c.sum"
