//! The whole loop on a real kernel: request, score, block, XDP drop. Each test has a lab of its own
//! and sees what an operator sees: the CLI, the audit log, the kernel's counters, and answers.

mod allowed;
mod bad_input;
mod blocks;
mod challenge;
mod collateral;
mod crowd;
mod damage;
mod datagrams;
mod events;
mod fixture;
mod held_open;
mod keys;
mod killed;
mod lingering;
mod lists;
mod log_mode;
mod operator;
mod passage;
mod privileges;
mod reload_under_load;
mod restart;
mod rotation;
mod secrets;
mod step_up;
mod systems;
mod undo;
mod victim;
mod wild_machine;
mod worked_example;
