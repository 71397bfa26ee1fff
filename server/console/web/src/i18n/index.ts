// The language of the console: the remembered one, else the browser's first.
import { createStore, recall, remember, useStore } from '../store'
import { en } from './en'
import { zh } from './zh'

export type Dict = typeof en
export type Lang = 'en' | 'zh'

const dicts: Record<Lang, Dict> = { en, zh }

// pick chooses from what was remembered and what the browser prefers.
export function pick(remembered: string | null, preferred: readonly string[]): Lang {
  if (remembered === 'en' || remembered === 'zh') return remembered
  for (const tag of preferred) {
    const base = tag.toLowerCase().split('-')[0]
    if (base === 'zh' || base === 'en') return base
  }
  return 'en'
}

const browser = typeof navigator === 'undefined' ? [] : (navigator.languages ?? [navigator.language])
export const lang = createStore<Lang>(pick(recall('lang'), browser))

const mark = (l: Lang): void => {
  if (typeof document !== 'undefined') document.documentElement.lang = l === 'zh' ? 'zh-CN' : 'en'
}
mark(lang.get())

export function chooseLang(next: Lang): void {
  remember('lang', next)
  mark(next)
  lang.set(next)
}

export const useT = (): Dict => dicts[useStore(lang)]
export const useLang = (): Lang => useStore(lang)

// word looks a word of the wire up; one that is not known is shown as it came.
export const word = (words: Record<string, string>, key: string): string => (Object.hasOwn(words, key) ? (words[key] as string) : key)
