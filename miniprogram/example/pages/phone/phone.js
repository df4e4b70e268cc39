// The phone number: the button gives a code, the server exchanges it. The number is never here
// in full, only masked.
const wxs = require('../../session')

Component({
  behaviors: [require('../../behaviors/session')],

  methods: {
    // Whatever the button gives: what the user or WeChat refused becomes an error with words.
    takeNumber({ detail }) {
      return this.run(() => wxs.phoneNumber(detail))
    },
  },
})
