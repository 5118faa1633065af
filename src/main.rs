//! The command line.

fn main() -> std::process::ExitCode {
    gguf_conv::cli::main()
}
