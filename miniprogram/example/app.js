// To try it with the service of `make run` (see README.md), let this line take part:
// require('./simulated')

App({})
