// Light, dark, or as the system says; boot.js applies the remembered choice
// before the first paint.
import { createStore, recall, remember } from './store'

export type Theme = 'system' | 'light' | 'dark'

const stored = recall('theme')
export const theme = createStore<Theme>(stored === 'light' || stored === 'dark' ? stored : 'system')

export function chooseTheme(next: Theme): void {
  remember('theme', next === 'system' ? null : next)
  if (next === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = next
  theme.set(next)
}

// color reads what a CSS custom property is worth right now, for canvas.
export function color(name: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${name})`
  probe.hidden = true
  document.body.append(probe)
  const value = getComputedStyle(probe).color
  probe.remove()
  return value
}
