// The phone number: the button gives a code, the server exchanges it. The number is never here
// in full, only masked.
const wxs = require('../../session')

Component({
  behaviors: [require('../../behaviors/session')],

  methods: {
    takeNumber({ detail }) {
      if (detail.errMsg !== 'getPhoneNumber:ok') {
        this.setData({ error: '你没有授权，手机号未改变' }) // the user may refuse
        return undefined
      }
      return this.run(() => wxs.phoneNumber(detail))
    },
  },
})
