package main

const preamble = `# Pipe beside its peers

Written by ` + "`go run ./bench/pipes`" + `, never by hand. What package pipe does on loopback sockets beside crypto/tls alone, yamux, gRPC and NATS
over TLS, and beside what the kernel and AES-GCM allow: messages a second, time under way, and memory of idle channels. Sender
and receiver are processes of their own on the same two cores, which the kernel's loopback shares with them; NATS has a third.
The receiver checks that every message arrived, in order, with the bytes that were sent: a run in which one did not writes no
document. Figures are medians over rounds, each of which drives every wire once; shares are of the same round. Goals are those of
the library's plan.

**中文摘要：** 本文由程序生成。发送方与接收方是同一台双核机器上的两个独立进程，经本机回环套接字通信，并与单独的 crypto/tls、yamux、gRPC、NATS
（均走 TLS 1.3）以及内核和 AES-GCM 的物理极限放在同一次运行中比较：64 B、1 KiB、64 KiB
三种消息的吞吐量，各自半载与统一负载下的延迟（开环，含协调遗漏修正），以及一万个空闲通道的内存。接收方核对每条消息的序号与内容，缺失、乱序或损坏即判运行失败。每个目标都注明达到（met）或未达到（missed）。

`

const throughputWords = `The sender sends as fast as the wire takes it. The rate is from the first message that arrived to the last; CPU is that of all
processes of the wire, user and system. Wires that batch do so as well as they can here, because there is always more to send:
the yardstick passes 64 KiB at a time to TLS, with nothing but a length before each message.
`

const latencyWords = `Messages are due at even times, whatever became of those before them, and each carries the time it was due: if a wire is late, all
that were due meanwhile count as late (open loop, no coordinated omission). Under way is from then until the receiver has the
message; both read the same clock. The sender sleeps at least 20 µs at a time, so at high rates messages come in small bursts, whose
wait counts too. Half of its own most differs from wire to wire; the other load is the same for all.
`

const limitWords = `AES-256-GCM in memory with Go's crypto/cipher, in place, messages of that size, without a socket; and the same over plain TCP by
hand, which is what is left once both cores also copy through the kernel. Sealing on one core what the other opens is the limit
for two ends on this machine: it is what the goal is held against.
`

const limitWhy = "No socket allows it here: plain TCP by hand, with one seal and one open and nothing else, is far below it as well, as the section on the limit shows."

const idleWords = `Resident memory of both processes after each channel has carried a message there and back and fell silent, with default settings:
a channel of 64 messages. Both processes have given free memory back to the system.
`

const wiresWords = `All run Go's TLS 1.3 with certificates on both sides, where they have TLS. Each process holds a heap that nobody touches (` + "`-heap`" + `),
because services have one: a process that holds nothing collects its garbage hundreds of times a second when messages of 64 KiB
belong to their receiver, as they do here, in gRPC and in NATS. Peers that give the receiver a buffer to read into have no garbage.
`

const bareWords = "In processes that hold next to nothing (`-heap 0`), 64 KiB with TLS and sealing does %.2f of crypto/tls alone: the garbage\nof large messages then has its price, see the wires.\n"

const notMeasured = `## What this does not measure

A network: loopback has no delay, no loss and no cards that take work off the CPU. Many channels under load at once. Handshakes.
Other machines: a core with slower AES moves every share. Two cores are shared by both ends; on more cores both ends get more.
`
