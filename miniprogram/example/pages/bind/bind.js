// Ties this WeChat user to an account that exists already, with a username and a password.
const wxs = require('../../session')

Component({
  behaviors: [require('../../behaviors/session')],

  methods: {
    bind(event) {
      const { username, password } = event.detail.value
      return this.run(async () => {
        await wxs.bind({ username, password })
        wx.showToast({ title: '绑定成功' })
      })
    },
  },
})
