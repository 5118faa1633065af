//! The command line.

use gguf_conv::io::guard::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> std::process::ExitCode {
    gguf_conv::cli::main()
}
