import type { Adapter } from './core'

/** An adapter that calls Alipay's `my` as this package calls `wx`. */
export function alipay(my: any): Adapter
