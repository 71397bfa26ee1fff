package push

import (
	"fmt"
	"time"
)

func refusal(in Instance) (en, zh string) {
	if in.Why == "" {
		return in.ID + " refuses the value; its log says why", in.ID + " 拒绝该值；原因见其日志"
	}
	return in.ID + " refuses the value: " + in.Why, in.ID + " 拒绝该值：" + in.Why
}

func waiting(done, all int) (en, zh string) {
	if all == 0 {
		return "no instance has said yet what it runs", "尚无实例上报其正在使用的修订"
	}
	return fmt.Sprintf("%d of %d instances have checked it", done, all), fmt.Sprintf("%d/%d 个实例已校验", done, all)
}

func nobody(d time.Duration) (en, zh string) {
	return fmt.Sprintf("nobody reports: no instance has said within %s what it runs", d), fmt.Sprintf("无实例上报：%s 内没有实例说明其正在使用的修订", d)
}

func unchecked(id string, done, all int, d time.Duration) (en, zh string) {
	return fmt.Sprintf("%d of %d instances have checked it within %s; not %s", done, all, d, id),
		fmt.Sprintf("%[3]s 内 %[2]d 个实例中只有 %[1]d 个完成校验；未完成：%[4]s", done, all, d, id)
}

func applying(running, all int) (en, zh string) {
	if all == 0 {
		return waiting(0, 0)
	}
	return fmt.Sprintf("%d of %d instances chosen run it", running, all), fmt.Sprintf("已选 %d 个实例，%d 个正在使用", all, running)
}

func unapplied(id string, running, all int, d time.Duration) (en, zh string) {
	if all == 0 {
		return nobody(d)
	}
	return fmt.Sprintf("%d of %d instances chosen run it after %s; not %s", running, all, d, id),
		fmt.Sprintf("%[3]s 后，已选 %[2]d 个实例中只有 %[1]d 个使用它；未使用：%[4]s", running, all, d, id)
}

func blind() (en, zh string) {
	return "waiting for calls to judge it by", "等待可供判断的调用"
}

func vanished(lost, all int) (en, zh string) {
	return fmt.Sprintf("%d of %d instances that were to run it are gone", lost, all), fmt.Sprintf("应使用它的 %d 个实例中有 %d 个已消失", all, lost)
}

func failing(here, ref Count, beside bool, limit float64) (en, zh string) {
	en = fmt.Sprintf("error share %s (%d of %d calls), over %s", percent(here.share()), here.Errors, here.Calls, percent(limit))
	zh = fmt.Sprintf("错误率 %s（%d 次调用中 %d 次失败），超过 %s", percent(here.share()), here.Calls, here.Errors, percent(limit))
	if ref.Calls < leastCalls {
		return en, zh
	}
	e, z := reference(beside)
	return en + fmt.Sprintf("; %s %s", e, percent(ref.share())), zh + fmt.Sprintf("；%s %s", z, percent(ref.share()))
}

func slower(here, ref Count, beside bool, limit float64) (en, zh string) {
	e, z := reference(beside)
	was, is := round(ref.mean()), round(here.mean())
	return fmt.Sprintf("calls take %s on average, more than %.3g times as long; %s %s", is, limit, e, was),
		fmt.Sprintf("调用平均耗时 %s，超过 %.3g 倍；%s %s", is, limit, z, was)
}

func reference(beside bool) (en, zh string) {
	if beside {
		return "the other instances have", "其他实例为"
	}
	return "before it was", "发布前为"
}

func committed(c Count) (en, zh string) {
	return fmt.Sprintf("all instances ran it: %d calls, %s failed", c.Calls, percent(c.share())),
		fmt.Sprintf("所有实例均已使用：%d 次调用，失败 %s", c.Calls, percent(c.share()))
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
