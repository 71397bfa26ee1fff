package vitals

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// say writes the sentences.
func (f *Finding) say() {
	f.Text, f.TextZh = f.english(), f.chinese()
	if f.State == Closed {
		f.Text, f.TextZh = "over: "+f.Text, "已结束："+f.TextZh
	}
}

func (f *Finding) english() string {
	var b strings.Builder
	switch f.Kind {
	case Goroutines:
		fmt.Fprintf(&b, "+%s goroutines", grouped(f.Count))
		if f.Created != "" {
			b.WriteString(" created at " + f.Created)
		}
		if f.Creator != "" {
			b.WriteString(" by " + f.Creator)
		}
		b.WriteString(", blocked")
		if f.WaitFor >= time.Minute {
			fmt.Fprintf(&b, " %d min", int(f.WaitFor.Minutes()))
		}
		if w := waitEnglish(f.Wait); w != "" {
			b.WriteString(" on " + w)
		}
		if f.Blocked != "" && f.Blocked != f.Created {
			b.WriteString(" at " + f.Blocked)
		}
		if f.Method == ByLeakProfile {
			b.WriteString(", nothing can wake them")
		}
	case Heap:
		fmt.Fprintf(&b, "live heap grows by %s a minute, from %s to %s", size(f.PerMinute), size(f.Before), size(f.Value))
		if f.Created != "" {
			fmt.Fprintf(&b, ", most of it allocated at %s by %s", f.Created, f.Creator)
			if s := f.Sites[0]; s.Value > s.Before {
				fmt.Fprintf(&b, " (+%s)", size(s.Value-s.Before))
			}
		}
	case Descriptors:
		fmt.Fprintf(&b, "%s file descriptors are open, %s before", grouped(int(f.Value)), grouped(int(f.Before)))
		if f.PerMinute >= 1 {
			fmt.Fprintf(&b, ", %s more a minute", grouped(int(f.PerMinute)))
		}
		if f.Limit > 0 {
			fmt.Fprintf(&b, "; the limit is %s", grouped(int(f.Limit)))
		}
	case Timers:
		fmt.Fprintf(&b, "about %s timers are held, %s before: they are made and not stopped", grouped(int(f.Value)), grouped(int(f.Before)))
	case GC:
		if f.Unit == "share" {
			fmt.Fprintf(&b, "the garbage collector takes %.0f %% of the processors; %.0f %% is much", 100*f.Value, 100*f.Before)
		} else {
			fmt.Fprintf(&b, "the garbage collector stops the program for %s at a time; %s is much", seconds(f.Value), seconds(f.Before))
		}
	case Scheduler:
		fmt.Fprintf(&b, "goroutines that could run wait %s for a processor; %s is much", seconds(f.Value), seconds(f.Before))
	case Mutex:
		fmt.Fprintf(&b, "about %.0f goroutines wait for locks at any time; %.0f is much", f.Value, f.Before)
		if len(f.Sites) > 0 {
			fmt.Fprintf(&b, "; most for the lock released at %s by %s", f.Sites[0].Place, f.Sites[0].Function)
		}
	case Stack:
		fmt.Fprintf(&b, "stacks grow by %s a minute, from %s to %s: something recurses deeply", size(f.PerMinute), size(f.Before), size(f.Value))
	}
	if f.Version != "" {
		b.WriteString(", first seen in " + f.Version)
	}
	if f.TraceID != "" {
		b.WriteString(", trace id " + f.TraceID)
	}
	return b.String()
}

func (f *Finding) chinese() string {
	var b strings.Builder
	switch f.Kind {
	case Goroutines:
		fmt.Fprintf(&b, "多出 %s 个协程", grouped(f.Count))
		switch {
		case f.Created != "" && f.Creator != "":
			fmt.Fprintf(&b, "，由 %s 在 %s 创建", f.Creator, f.Created)
		case f.Created != "":
			b.WriteString("，创建于 " + f.Created)
		}
		b.WriteString("，")
		if f.Blocked != "" && f.Blocked != f.Created {
			b.WriteString("在 " + f.Blocked + " ")
		}
		b.WriteString("阻塞")
		if w := waitChinese(f.Wait); w != "" {
			b.WriteString("于" + w)
		}
		if f.WaitFor >= time.Minute {
			fmt.Fprintf(&b, "已 %d 分钟", int(f.WaitFor.Minutes()))
		}
		if f.Method == ByLeakProfile {
			b.WriteString("，再无任何代码能唤醒它们")
		}
	case Heap:
		fmt.Fprintf(&b, "存活堆内存每分钟增长 %s，从 %s 增至 %s", size(f.PerMinute), size(f.Before), size(f.Value))
		if f.Created != "" {
			fmt.Fprintf(&b, "，主要由 %s 在 %s 分配", f.Creator, f.Created)
			if s := f.Sites[0]; s.Value > s.Before {
				fmt.Fprintf(&b, "（+%s）", size(s.Value-s.Before))
			}
		}
	case Descriptors:
		fmt.Fprintf(&b, "打开了 %s 个文件描述符，此前 %s 个", grouped(int(f.Value)), grouped(int(f.Before)))
		if f.PerMinute >= 1 {
			fmt.Fprintf(&b, "，每分钟增加 %s 个", grouped(int(f.PerMinute)))
		}
		if f.Limit > 0 {
			fmt.Fprintf(&b, "，上限 %s 个", grouped(int(f.Limit)))
		}
	case Timers:
		fmt.Fprintf(&b, "约有 %s 个定时器未释放，此前 %s 个：只创建不停止", grouped(int(f.Value)), grouped(int(f.Before)))
	case GC:
		if f.Unit == "share" {
			fmt.Fprintf(&b, "垃圾回收占用 %.0f %% 的处理器，超过 %.0f %% 即为过高", 100*f.Value, 100*f.Before)
		} else {
			fmt.Fprintf(&b, "垃圾回收每次让程序停顿 %s，超过 %s 即为过长", seconds(f.Value), seconds(f.Before))
		}
	case Scheduler:
		fmt.Fprintf(&b, "可运行的协程要等 %s 才得到处理器，超过 %s 即为过长", seconds(f.Value), seconds(f.Before))
	case Mutex:
		fmt.Fprintf(&b, "任一时刻约有 %.0f 个协程在等锁，超过 %.0f 个即为过多", f.Value, f.Before)
		if len(f.Sites) > 0 {
			fmt.Fprintf(&b, "，等得最多的锁由 %s 在 %s 释放", f.Sites[0].Function, f.Sites[0].Place)
		}
	case Stack:
		fmt.Fprintf(&b, "协程栈每分钟增长 %s，从 %s 增至 %s：有很深的递归", size(f.PerMinute), size(f.Before), size(f.Value))
	}
	if f.Version != "" {
		b.WriteString("，首次见于 " + f.Version)
	}
	if f.TraceID != "" {
		b.WriteString("，追踪号 " + f.TraceID)
	}
	return b.String()
}

// waits are the runtime's wait reasons in words.
var waits = map[string][2]string{
	"chan send":               {"channel send", "通道发送"},
	"chan receive":            {"channel receive", "通道接收"},
	"chan send (nil chan)":    {"send to a nil channel", "向 nil 通道发送"},
	"chan receive (nil chan)": {"receive from a nil channel", "从 nil 通道接收"},
	"select":                  {"select", " select"},
	"select (no cases)":       {"an empty select", "空的 select"},
	"IO wait":                 {"network or file", "网络或文件读写"},
	"sleep":                   {"sleep", "睡眠"},
	"sync.Mutex.Lock":         {"a mutex", "互斥锁"},
	"sync.RWMutex.Lock":       {"a mutex", "互斥锁"},
	"sync.RWMutex.RLock":      {"a mutex", "互斥锁"},
	"sync.Cond.Wait":          {"a condition variable", "条件变量"},
	"sync.WaitGroup.Wait":     {"a WaitGroup", " WaitGroup"},
	"semacquire":              {"a semaphore", "信号量"},
	"syscall":                 {"a system call", "系统调用"},
	"running":                 {"", ""},
	"runnable":                {"", ""},
}

func waitEnglish(w string) string {
	if t, ok := waits[w]; ok {
		return t[0]
	}
	return w
}

func waitChinese(w string) string {
	if t, ok := waits[w]; ok {
		return t[1]
	}
	if w == "" {
		return ""
	}
	return " " + w
}

// grouped writes 4812 as 4,812.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes for people.
func size(b float64) string {
	switch {
	case b >= 1e9:
		return fmt.Sprintf("%.1f GB", b/1e9)
	case b >= 1e6:
		return fmt.Sprintf("%.0f MB", b/1e6)
	}
	return fmt.Sprintf("%.0f kB", b/1e3)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond).String()
}
